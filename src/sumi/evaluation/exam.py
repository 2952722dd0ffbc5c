"""The exam: prompts are drawn as anybody would draw them, and the judge marks the pictures.

    questions -> pictures (the pipeline, many prompts a batch) -> verdicts (the judge) -> rows, a sheet, a record

Question k of a category is drawn from seed + k, so `sumi generate PROMPT --seed S --size 64` draws the very picture
that was marked. Nothing is drawn twice and nothing is picked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import Bundle, default_bundle, weight_hash
from sumi.errors import SumiError
from sumi.evaluation.intervals import Share
from sumi.evaluation.marking import Verdict, mark, rows
from sumi.evaluation.questions import MAIN, SEED, VERSION, Question, Syllabus, questions
from sumi.imaging.pixels import from_levels, resize, to_levels
from sumi.judge.network import SIZE_PX, Judge
from sumi.pipelines import Generate, Settings
from sumi.pipelines.request import Request
from sumi.pipelines.steps import drive_to_end

Draw = Callable[[Sequence[str], Sequence[int]], Tensor]
"""Prompts and a seed for each -> premultiplied uint8 (B, 4, 64, 64)."""
Progress = Callable[[int, int], None]


def drawer(pipeline: Generate) -> Draw:
    """Return how a pipeline draws different prompts together, each as it would draw it alone."""

    @torch.no_grad()
    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        sketches = drive_to_end(pipeline.sketch(Request(prompts[0]), prompts, seeds))
        return at_judged_size(torch.stack([sketch.flat() for sketch in sketches]))

    return draw


def at_judged_size(levels: Tensor) -> Tensor:
    """Pictures of any size, premultiplied uint8, at the one that the judge looks at."""
    if levels.shape[-1] == SIZE_PX:
        return levels
    return to_levels(resize(from_levels(levels), (SIZE_PX, SIZE_PX)))


@dataclass(frozen=True)
class Result:
    """An exam sat: questions, the seed of each, what was drawn, and what the judge found."""

    questions: tuple[Question, ...]
    seeds: tuple[int, ...]
    pictures: Tensor
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def rows(self) -> list[tuple[str, Share]]:
        """The figures by name."""
        return rows(self.questions, self.verdicts)

    def of(self, category: str) -> Result:
        """Only one category."""
        here = [k for k, question in enumerate(self.questions) if question.category == category]

        def some(values: Sequence[Any]) -> Any:
            return tuple(values[k] for k in here)

        return Result(some(self.questions), some(self.seeds), self.pictures[here], some(self.verdicts), self.seconds)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories asked, in order."""
        return tuple(dict.fromkeys(question.category for question in self.questions))

    def to_json(self) -> dict[str, Any]:
        """Return figures and every picture's verdict as JSON values."""
        listed = [
            {"category": question.category, "prompt": question.prompt, "seed": seed, **verdict.to_json()}
            for question, seed, verdict in zip(self.questions, self.seeds, self.verdicts, strict=True)
        ]
        return {
            "exam": VERSION,
            "rows": {name: share.to_json() for name, share in self.rows},
            "seconds": round(self.seconds, 2),
            "pictures": listed,
        }


def examine(
    draw: Draw,
    judge: Judge,
    syllabus: Syllabus,
    categories: Sequence[str] = MAIN,
    n: int = 200,
    seed: int = SEED,
    batch: int = 25,
    progress: Progress = lambda done, of: None,
) -> Result:
    """Draw and mark the first n questions of each category; question k of each is drawn from seed + k."""
    lists = [questions(category, syllabus, n) for category in categories]
    asked = [question for some in lists for question in some]
    seeds = [seed + number for some in lists for number in range(len(some))]
    started, pictures, done = time.perf_counter(), [], 0
    for some in lists:  # one category at a time, so that no seed comes twice in a batch
        for first in range(0, len(some), batch):
            part = some[first : first + batch]
            pictures.append(draw([question.prompt for question in part], range(seed + first, seed + first + len(part))))
            done += len(part)
            progress(done, len(asked))
    drawn = torch.cat(pictures)
    verdicts = mark(judge, drawn, asked)
    return Result(tuple(asked), tuple(seeds), drawn, tuple(verdicts), time.perf_counter() - started)


def with_settings(pipeline: Generate, steps: int | None = None, guidance: float | None = None) -> Generate:
    """Return the pipeline with another number of decoder steps or another guidance; None keeps what is."""
    decoder = pipeline.decoder.with_settings(steps=steps, guidance=guidance).settings
    settings: Mapping[str, Settings] = {"decoder": decoder}
    return pipeline.with_settings(settings)


def syllabus_of(model: str | Path | None, judge: Judge) -> Syllabus:
    """Return what a model may be asked: what its bundle says it was taught, and the judge knows."""
    bundle = Bundle.load(default_bundle() if model is None else model)
    concepts = bundle.vocabulary.get("concepts")
    if not isinstance(concepts, Mapping):
        raise SumiError(f"the model {bundle.name} does not say which concepts it was taught")
    return Syllabus.common(list(concepts), judge.names, judge.people)


def record(result: Result, pipeline: Generate, judge: Judge) -> dict[str, Any]:
    """Return the result as JSON values, with all that decides it: weights, settings and the judge."""
    return {
        "model": pipeline.model.name,
        "hashes": dict(pipeline.model.hashes),
        "judge": weight_hash(judge),
        "settings": {stage.name: asdict(stage.settings) for stage in (pipeline.prior, pipeline.decoder)},
        **result.to_json(),
    }
