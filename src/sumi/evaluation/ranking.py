"""Measurement of re-ranking: whether the candidate that CLIP prefers is the one that the judge recognizes.

    gain = P(judge right of the candidate nearest to z_t, of K) - P(judge right of the first candidate)

Re-ranking as in DALL-E (Ramesh et al. 2021, arXiv 2102.12092, section 2.6), by the model's own CLIP at 64 px; only the
judge decides what is right. Candidate k of question q has the seed first + K q + k, so the candidate chosen here is the
picture that `sumi generate PROMPT --size 64 --seed S --best-of K` keeps. Both ways answer the same questions, so their
difference is paired. Every result is appended to a log, and an interrupted exam continues from there.
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
from sumi.evaluation.exam import Progress, prompt_drawer
from sumi.evaluation.grading import grade_pictures
from sumi.evaluation.intervals import Gain, Share
from sumi.evaluation.measurement import Figure, Measurement, sample_sheet
from sumi.evaluation.questions import SEED, Question, make_questions
from sumi.pipelines.prompt import clean

__all__ = ["ResultLog", "measure_reranking", "measurement_name"]

BEST_OF = 16
#: Questions drawn together.
TOGETHER = 4
SHOWN = 24


class ResultLog:
    """An append-only file of JSON lines, from which an interrupted exam continues.

    The first line describes the exam. A file with another description is replaced, and a truncated line is dropped.
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
        """Append rows to the file."""
        self.rows += rows
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def first_seed(number: int) -> int:
    """Return the seed of the first candidate for a question."""
    return SEED + BEST_OF * number


@torch.no_grad()
def draw_candidates(exam: EditExam, asked: Sequence[Question], seeds: Sequence[int]) -> tuple[Tensor, list[float]]:
    """Draw one picture for each question and seed.

    Returns:
        The pictures, premultiplied uint8 (B, 4, 64, 64), and CLIP's cosine between each and its prompt.
    """
    prompts = [question.prompt for question in asked]
    pictures = prompt_drawer(exam.pipeline)(prompts, seeds)
    z_t = exam.pipeline.read([clean(prompt) for prompt in prompts]).z_t
    return pictures, F.cosine_similarity(exam.embed(pictures), z_t, dim=-1).tolist()


def best_candidate(near: Sequence[float], among: int) -> int:
    """Return the index of the largest cosine among the first `among` candidates; of equal ones the first."""
    return max(range(among), key=lambda number: near[number])


def reranking_figures(rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    """Return the share that the judge recognizes of the best of 1, 2, 4, ... candidates, of any, and the gain.

    Args:
        rows: for each question `near`, CLIP's cosine of each candidate, and `right`, the judge's grade of each.
    """

    def best_of(among: int) -> list[bool]:
        return [row["right"][best_candidate(row["near"], among)] for row in rows]

    sizes = [1 << power for power in range(BEST_OF.bit_length())]
    curve = [Figure(f"recognised, best of {size}", Share.of(best_of(size))) for size in sizes]
    able = Figure(f"recognised, any of {BEST_OF}", Share.of(any(row["right"]) for row in rows))
    gain = Figure(f"best of {BEST_OF} less best of 1", Gain.of(best_of(1), best_of(BEST_OF)), 0.0, sure=True)
    return (gain, *curve, able)


def measurement_name(category: str) -> str:
    """Return the name of the measurement of a category: "reranking" for single things, else "reranking-CATEGORY"."""
    return "reranking" if category == "single" else f"reranking-{category.replace(' ', '-')}"


def measure_reranking(exam: EditExam, n: int, progress: Progress, category: str = "single") -> Measurement:
    """Draw 16 candidates for each of n questions of a category, and grade them all."""
    asked = make_questions(category, exam.syllabus, n)
    journal = ResultLog(
        exam.folder / f"{measurement_name(category)}.jsonl", {**exam.about, "best_of": BEST_OF, "seed": SEED}
    )
    while len(journal.rows) < len(asked):
        start = len(journal.rows)
        some = [question for question in asked[start : start + TOGETHER] for _ in range(BEST_OF)]
        seeds = range(first_seed(start), first_seed(start) + len(some))
        pictures, near = draw_candidates(exam, some, seeds)
        right = [grade.right for grade in grade_pictures(exam.judge, pictures, some)]
        parts = [slice(first, first + BEST_OF) for first in range(0, len(some), BEST_OF)]
        journal.add([{"near": [round(value, 6) for value in near[part]], "right": right[part]} for part in parts])
        progress(min(len(journal.rows), len(asked)), len(asked))
    rows = journal.rows[: len(asked)]
    claim = (
        f"Of {BEST_OF} candidates, CLIP chooses one that the judge recognises more often than the first ({category})."
    )
    sheet = sample_sheet(_pairs(exam, asked, rows), beside=4)
    return Measurement(claim, reranking_figures(rows), sheet, f"seeds {SEED} to {first_seed(len(asked)) - 1}")


def _pairs(
    exam: EditExam, asked: Sequence[Question], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[Tensor, list[str]]]:
    """Draw the first and the chosen candidate again, for questions where they differ."""
    differ = [number for number, row in enumerate(rows) if best_candidate(row["near"], BEST_OF)][:SHOWN]
    shown = []
    for number in differ:
        both = [0, best_candidate(rows[number]["near"], BEST_OF)]
        question = [asked[number]] * 2
        pictures, _ = draw_candidates(exam, question, [first_seed(number) + candidate for candidate in both])
        seen = [grade.seen[0][0] for grade in grade_pictures(exam.judge, pictures, question)]
        said = [f"{asked[number].prompt}: the first (judge: {seen[0]})", f"chosen (judge: {seen[1]})"]
        shown.append((pictures, said))
    return shown
