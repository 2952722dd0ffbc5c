"""Whether CLIP, choosing among candidates, chooses what the judge recognises.

    gain = P(judge right of the candidate nearest to z_t, of K) - P(judge right of the first candidate)

Re-ranking as in DALL-E (Ramesh et al. 2021, arXiv 2102.12092, section 2.6), by the generator's own CLIP at 64 px; the
marks are the judge's alone. Candidate k of question q has the seed first + K q + k, so what is kept here is what
`sumi generate PROMPT --size 64 --seed S --best-of K` keeps. Both ways answer the same questions, so their difference
is paired. Marks are written down as they are given, and an interrupted exam goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.exam import Progress, drawer
from sumi.evaluation.intervals import Gain, Share
from sumi.evaluation.marking import mark
from sumi.evaluation.measurement import Figure, Measurement, sample_sheet
from sumi.evaluation.questions import SEED, Question, questions
from sumi.pipelines.prompt import clean

BEST_OF = 16
#: Questions drawn together.
TOGETHER = 4
SHOWN = 24


class Journal:
    """Lines of JSON in a file that survive an interruption.

    The first line says what they are about; a file about something else, and a line cut short, count for nothing.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        kept = self._read()
        self.rows = kept[1:] if kept[:1] == [about] else []
        write_atomic(path, "".join(json.dumps(row) + "\n" for row in (about, *self.rows)))

    def _read(self) -> list[dict[str, Any]]:
        rows = []
        try:
            for line in self.path.read_text(encoding="utf-8").splitlines():
                rows.append(json.loads(line))
        except (OSError, ValueError):
            pass
        return rows

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write more lines."""
        self.rows += rows
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def first_seed(number: int) -> int:
    """Return the seed of the first candidate for a question."""
    return SEED + BEST_OF * number


@torch.no_grad()
def candidates(who: EditExam, asked: Sequence[Question], seeds: Sequence[int]) -> tuple[Tensor, list[float]]:
    """Draw one picture a question and seed, uint8 (B, 4, 64, 64), and return how near CLIP finds each to its prompt."""
    prompts = [question.prompt for question in asked]
    pictures = drawer(who.pipeline)(prompts, seeds)
    z_t = who.pipeline.read([clean(prompt) for prompt in prompts]).z_t
    return pictures, F.cosine_similarity(who.embed(pictures), z_t, dim=-1).tolist()


def best_candidate(near: Sequence[float], among: int) -> int:
    """Return the nearest of the first candidates; of equals the first."""
    return max(range(among), key=lambda number: near[number])


def figures(rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    """Return how often the judge is right of the best of 1, 2, 4, ..., of any, and what choosing gains.

    rows: a question each, with `near` (CLIP's cosine of each candidate) and `right` (the judge's mark of each).
    """

    def best_of(among: int) -> list[bool]:
        return [row["right"][best_candidate(row["near"], among)] for row in rows]

    sizes = [1 << power for power in range(BEST_OF.bit_length())]
    curve = [Figure(f"recognised, best of {size}", Share.of(best_of(size))) for size in sizes]
    able = Figure(f"recognised, any of {BEST_OF}", Share.of(any(row["right"]) for row in rows))
    gain = Figure(f"best of {BEST_OF} less best of 1", Gain.of(best_of(1), best_of(BEST_OF)), 0.0, sure=True)
    return (gain, *curve, able)


def measurement_name(category: str) -> str:
    """Return the name of the proof that asks about a category; about single things it needs no more name."""
    return "reranking" if category == "single" else f"reranking-{category.replace(' ', '-')}"


def reranking(who: EditExam, n: int, progress: Progress, category: str = "single") -> Measurement:
    """Draw 16 candidates for each of n questions of a category, and mark them all."""
    asked = questions(category, who.syllabus, n)
    journal = Journal(
        who.folder / f"{measurement_name(category)}.jsonl", {**who.about, "best_of": BEST_OF, "seed": SEED}
    )
    while len(journal.rows) < len(asked):
        start = len(journal.rows)
        some = [question for question in asked[start : start + TOGETHER] for _ in range(BEST_OF)]
        seeds = range(first_seed(start), first_seed(start) + len(some))
        pictures, near = candidates(who, some, seeds)
        right = [verdict.right for verdict in mark(who.judge, pictures, some)]
        parts = [slice(first, first + BEST_OF) for first in range(0, len(some), BEST_OF)]
        journal.add([{"near": [round(value, 6) for value in near[part]], "right": right[part]} for part in parts])
        progress(min(len(journal.rows), len(asked)), len(asked))
    rows = journal.rows[: len(asked)]
    claim = (
        f"Of {BEST_OF} candidates, CLIP chooses one that the judge recognises more often than the first ({category})."
    )
    sheet = sample_sheet(_pairs(who, asked, rows), beside=4)
    return Measurement(claim, figures(rows), sheet, f"seeds {SEED} to {first_seed(len(asked)) - 1}")


def _pairs(
    who: EditExam, asked: Sequence[Question], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[Tensor, list[str]]]:
    """First and chosen candidate of questions where they differ, drawn again from their seeds."""
    differ = [number for number, row in enumerate(rows) if best_candidate(row["near"], BEST_OF)][:SHOWN]
    shown = []
    for number in differ:
        both = [0, best_candidate(rows[number]["near"], BEST_OF)]
        question = [asked[number]] * 2
        pictures, _ = candidates(who, question, [first_seed(number) + candidate for candidate in both])
        seen = [verdict.seen[0][0] for verdict in mark(who.judge, pictures, question)]
        said = [f"{asked[number].prompt}: the first (judge: {seen[0]})", f"chosen (judge: {seen[1]})"]
        shown.append((pictures, said))
    return shown
