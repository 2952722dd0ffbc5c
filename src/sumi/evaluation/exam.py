"""The exam: a pipeline draws the prompts of a fixed list, and the judge grades the pictures.

    questions -> pictures (the model, many prompts a batch) -> grades (the judge) -> scores, a sheet, a record

Question k of a category is drawn from seed + k, so `sumi generate PROMPT --seed S --size 64` draws exactly the picture
that was graded. Every prompt is drawn once, and no picture is selected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import Bundle, default_bundle
from sumi.errors import SumiError
from sumi.evaluation.grading import Grade, grade_pictures, marks_of, summarize
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import MAIN, SEED, VERSION, Question, Syllabus, make_questions
from sumi.evaluation.scores import Score, scores_of
from sumi.evaluation.true_scenes import TrueScenes
from sumi.imaging.pixels import from_levels, resize, to_levels
from sumi.judge.network import SIZE_PX, Judge
from sumi.pipelines import Settings, UnCLIPPipeline
from sumi.pipelines.layered import sample_small
from sumi.pipelines.steps import drive_to_end

__all__ = [
    "NUM_TRUE",
    "DrawPrompts",
    "ExamResult",
    "Progress",
    "concepts_of",
    "draw_lists",
    "load_bundle",
    "load_syllabus",
    "prompt_drawer",
    "resize_for_judge",
    "run_exam",
    "with_decoder_settings",
]

DrawPrompts = Callable[[Sequence[str], Sequence[int]], Tensor]
"""Prompts, and a seed for each, to premultiplied uint8 (B, 4, 64, 64)."""
Progress = Callable[[int, int], None]
NUM_TRUE = 100
"""The least number of true pictures that a ceiling is measured on."""


def prompt_drawer(pipeline: UnCLIPPipeline) -> DrawPrompts:
    """Return a function that draws different prompts in one batch, each as the pipeline draws it alone."""

    @torch.no_grad()
    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return resize_for_judge(torch.stack(drive_to_end(sample_small(pipeline, prompts, seeds))))

    return draw


def resize_for_judge(levels: Tensor) -> Tensor:
    """Return premultiplied uint8 pictures of any size as (B, 4, 64, 64), the size of the judge's input."""
    if levels.shape[-1] == SIZE_PX:
        return levels
    return to_levels(resize(from_levels(levels), (SIZE_PX, SIZE_PX)))


@dataclass(frozen=True)
class ExamResult:
    """The result of an exam.

    Args:
        questions: what was asked.
        seeds: the seed of each picture.
        pictures: premultiplied uint8 (N, 4, 64, 64).
        grades: the judge's answer about each.
        seconds: the duration.
        ceilings: the marks of true pictures of the same questions, by the name of the row; None if not measured.
        chances: the marks of true pictures of other questions.
    """

    questions: tuple[Question, ...]
    seeds: tuple[int, ...]
    pictures: Tensor
    grades: tuple[Grade, ...]
    seconds: float
    ceilings: Mapping[str, Sequence[bool]] | None = None
    chances: Mapping[str, Sequence[bool]] | None = None

    @property
    def scores(self) -> list[Score]:
        """The rows with their ceilings and levels of chance."""
        return scores_of(marks_of(self.questions, self.grades), self.ceilings, self.chances)

    @property
    def rows(self) -> list[tuple[str, Share]]:
        """The share of pictures for which each fact holds, by name."""
        return summarize(self.questions, self.grades)

    def of(self, category: str) -> ExamResult:
        """Return the part of the result that belongs to one category."""
        here = [k for k, question in enumerate(self.questions) if question.category == category]

        def some(values: Sequence[Any]) -> Any:
            return tuple(values[k] for k in here)

        return ExamResult(some(self.questions), some(self.seeds), self.pictures[here], some(self.grades), self.seconds)

    def first(self, n: int) -> list[int]:
        """Return the numbers of the first n pictures of each category."""
        of_each = [
            [k for k, question in enumerate(self.questions) if question.category == category]
            for category in self.categories
        ]
        return [k for numbers in of_each for k in numbers[:n]]

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the questions, in order."""
        return tuple(dict.fromkeys(question.category for question in self.questions))

    def to_json(self) -> dict[str, Any]:
        """Return the rows, and the grade of every picture, as JSON values."""
        listed = [
            {"category": question.category, "prompt": question.prompt, "seed": seed, **grade.to_json()}
            for question, seed, grade in zip(self.questions, self.seeds, self.grades, strict=True)
        ]
        return {
            "exam": VERSION,
            "rows": {score.name: score.to_json() for score in self.scores},
            "seconds": round(self.seconds, 2),
            "pictures": listed,
        }


def run_exam(
    draw: DrawPrompts,
    judge: Judge,
    syllabus: Syllabus,
    categories: Sequence[str] = MAIN,
    n: int = 200,
    seed: int = SEED,
    batch: int = 25,
    progress: Progress = lambda done, of: None,
    truth: TrueScenes | None = None,
) -> ExamResult:
    """Draw and grade the first n questions of each category.

    Args:
        draw: draws prompts, see `prompt_drawer`.
        judge: grades the pictures.
        syllabus: the concepts to ask about.
        categories: names from `questions.CATEGORIES`.
        n: how many questions a category.
        seed: question k of each category is drawn from seed + k.
        batch: how many prompts to draw together.
        progress: called with (pictures drawn, all pictures).
        truth: composes true pictures, of which ceilings and chance are measured.
    """
    lists = [make_questions(category, syllabus, n) for category in categories]
    asked = [question for some in lists for question in some]
    seeds = [seed + number for some in lists for number in range(len(some))]
    started = time.perf_counter()
    drawn = draw_lists(draw, lists, seed, progress, batch)
    grades = grade_pictures(judge, drawn, asked)
    seconds = time.perf_counter() - started
    more = [make_questions(category, syllabus, max(n, NUM_TRUE)) for category in categories]
    ceilings, chances = (None, None) if truth is None else measure_truth(judge, truth, more)
    return ExamResult(tuple(asked), tuple(seeds), drawn, tuple(grades), seconds, ceilings, chances)


def draw_lists(
    draw: DrawPrompts, lists: Sequence[Sequence[Question]], seed: int, progress: Progress, batch: int = 25
) -> Tensor:
    """Draw lists of questions, question k of each from seed + k; uint8 (N, 4, 64, 64), one list after another."""
    pictures, done, of = list[Tensor](), 0, sum(map(len, lists))
    for some in lists:  # one list at a time, so that no batch holds a seed twice
        for first in range(0, len(some), batch):
            part = some[first : first + batch]
            pictures.append(draw([question.prompt for question in part], range(seed + first, seed + first + len(part))))
            done += len(part)
            progress(done, of)
    return torch.cat(pictures)


def measure_truth(
    judge: Judge, truth: TrueScenes, lists: Sequence[Sequence[Question]]
) -> tuple[dict[str, list[bool]], dict[str, list[bool]]]:
    """Return the marks of true pictures, by row: of the questions themselves, and of the question after each."""
    ceilings: dict[str, list[bool]] = {}
    chances: dict[str, list[bool]] = {}
    for asked in lists:
        shown = [question for question in asked if all(map(truth.shows, question.things))]
        if not shown:
            continue
        pictures = truth.render(shown)
        ceilings |= marks_of(shown, grade_pictures(judge, pictures, shown))
        if len(shown) > 1:
            chances |= marks_of(shown, grade_pictures(judge, pictures.roll(-1, dims=0), shown))
    return ceilings, chances


def with_decoder_settings(
    pipeline: UnCLIPPipeline, steps: int | None = None, guidance: float | None = None
) -> UnCLIPPipeline:
    """Return the pipeline with another number of decoder steps or another guidance; None keeps the present one."""
    decoder = pipeline.decoder.with_settings(steps=steps, guidance=guidance).settings
    settings: Mapping[str, Settings] = {"decoder": decoder}
    return pipeline.with_settings(settings)


def load_bundle(model: str | Path | None) -> Bundle:
    """Return the bundle of a model; None is the one that comes with Sumi."""
    return Bundle.load(default_bundle() if model is None else model)


def load_syllabus(model: str | Path | None, judge: Judge) -> Syllabus:
    """Return the concepts that a model was taught and the judge knows.

    Args:
        model: the folder of a bundle; by default that of the model which comes with Sumi.
        judge: the judge of the exam.

    Raises:
        SumiError: when the bundle does not list its concepts, or has fewer than two in common with the judge.
    """
    bundle = load_bundle(model)
    concepts = concepts_of(bundle.vocabulary)
    if not concepts:
        raise SumiError(f"the model {bundle.name} does not say which concepts it was taught")
    return Syllabus.common(concepts, judge.names, judge.people)


def concepts_of(vocabulary: Mapping[str, Any]) -> list[str]:
    """Return the concepts that a bundle's vocabulary lists; none where it does not say."""
    concepts = vocabulary.get("concepts")
    return list(concepts) if isinstance(concepts, Mapping) else []
