"""The exam in editing: the model, its judge, and the true pictures that the model edits.

The pictures are renders of scenes with one plain thing each, from a seed that no model is trained on. Most show
concepts that the model was taught; held-out ones show icons that none of its training data contains.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import weight_hash
from sumi.data.generator import Mix, Scenes
from sumi.errors import SumiError
from sumi.evaluation.exam import resize_for_judge
from sumi.evaluation.judge_exam import true_pictures
from sumi.evaluation.questions import Question, Syllabus
from sumi.imaging.pixels import from_image, from_levels, resize, to_image, to_levels
from sumi.judge.network import Judge, judge_pictures
from sumi.judge.train_judge import JUDGE_SEED, JudgeTraining
from sumi.pipelines import UnCLIPPipeline
from sumi.pipelines.events import Picture
from sumi.pipelines.request import Task
from sumi.pipelines.source import Source
from sumi.systems.unclip.artist import Sumi

__all__ = ["EditExam"]

SCENES_SEED = JUDGE_SEED + 1
"""The seed of the scenes that `true_pictures` renders."""


@dataclass(frozen=True)
class EditExam:
    """Everything that an exam in editing needs.

    Args:
        artist: the model.
        judge: recognizes what pictures show; it does not belong to the model.
        syllabus: the concepts that the model may be asked about.
        training: the judge's, which renders the true pictures.
        folder: where records are written.
    """

    artist: Sumi
    judge: Judge
    syllabus: Syllabus
    training: JudgeTraining
    folder: Path

    @property
    def pipeline(self) -> UnCLIPPipeline:
        """The pipeline that draws."""
        return self.artist.pipeline

    @property
    def about(self) -> dict[str, Any]:
        """Everything that determines the figures, as JSON values: weights, settings and the judge."""
        settings = {stage.name: asdict(stage.settings) for stage in (self.pipeline.prior, self.pipeline.decoder)}
        model = {"model": self.pipeline.model.name, "hashes": dict(self.pipeline.model.hashes)}
        about: dict[str, Any] = json.loads(
            json.dumps({**model, "judge": weight_hash(self.judge), "settings": settings})
        )
        return about

    @cached_property
    def scenes(self) -> Scenes:
        """Numbered scenes of taught concepts; SumiError without artwork."""
        return self.training.scenes("train")

    @property
    def scenes_seed(self) -> str:
        """A description of the seed of the pictures, for records."""
        return f"true pictures of scenes from seed {SCENES_SEED}"

    def true_pictures(self, n: int, held_out: bool = False) -> tuple[list[Question], list[Source]]:
        """Return n true pictures of one thing each, with the questions that they answer.

        Args:
            n: how many.
            held_out: show icons that no training data contains, instead of taught concepts.

        Raises:
            SumiError: when the artwork has fewer.
        """
        source: Mix | str = "concept" if held_out else Mix.singles()
        asked, levels = true_pictures(self.scenes, "single", source, 2 * n)
        known = set(self.syllabus.objects)
        rows = [row for row, question in enumerate(asked) if held_out or question.things[0] in known][:n]
        if len(rows) < n:
            raise SumiError(f"the artwork holds {len(rows)} pictures of things that the model was taught, too few")
        return [asked[row] for row in rows], [Source.of(to_image(levels[row])) for row in rows]

    def model_inputs(self, sources: Sequence[Source]) -> Tensor:
        """Return pictures at the size that the model works at, premultiplied uint8 (B, 4, S, S)."""
        return torch.stack([source.levels(self.pipeline.size_px) for source in sources])

    def run_task(self, task: Task, *sources: Source) -> Tensor:
        """Run a task on pictures with its prompt unchanged; return the results, premultiplied uint8 (B, 4, S, S)."""
        asked = task if "anyway" in task.without else replace(task, anyway=True)
        events = self.artist.stream(asked, *(source.image for source in sources))
        images = [event.image for event in events if isinstance(event, Picture)]
        return torch.stack([from_image(image, self.pipeline.size_px) for image in images])

    def embed(self, levels: Tensor) -> Tensor:
        """Return CLIP's embeddings (B, D) of pictures of any size, uint8 (B, 4, H, W)."""
        size_px = self.pipeline.size_px
        if levels.shape[-1] != size_px:
            levels = to_levels(resize(from_levels(levels), (size_px, size_px)))
        return self.pipeline.embed(levels)

    def recognize(self, levels: Tensor) -> list[str]:
        """Return the concept that the judge recognizes in each picture, premultiplied uint8 (B, 4, S, S)."""
        best = judge_pictures(self.judge, resize_for_judge(levels)).best(1)[:, 0]
        return [self.judge.names[number] for number in best.tolist()]

    def recognize_colour(self, levels: Tensor, concept: str) -> list[str]:
        """Return the colour that the judge sees where it sees a concept, for each picture (B, 4, S, S)."""
        asked = torch.full((len(levels), 1), self.judge.ids[concept])
        best = judge_pictures(self.judge, resize_for_judge(levels), asked).colours[:, 0].argmax(dim=-1)
        return [self.judge.colours[number] for number in best.tolist()]
