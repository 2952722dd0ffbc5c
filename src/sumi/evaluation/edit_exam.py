"""Who sits an exam in editing, and the true pictures that it is given.

The pictures are renders of scenes with one plain thing each, whose seed no product is trained on. Most show things
that the model was taught; `strange` ones show icons held out from everything it was taught with.
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
from sumi.evaluation.exam import at_judged_size
from sumi.evaluation.judge_exam import true_pictures
from sumi.evaluation.questions import Question, Syllabus
from sumi.imaging.pixels import from_image, from_levels, resize, to_image, to_levels
from sumi.judge.network import Judge, judge_pictures
from sumi.judge.train_judge import SEED as SCHOOL_SEED
from sumi.judge.train_judge import JudgeTraining
from sumi.pipelines import Generate
from sumi.pipelines.events import Picture
from sumi.pipelines.request import Task
from sumi.pipelines.source import Source
from sumi.systems.unclip.artist import Sumi

SCENES_SEED = SCHOOL_SEED + 1
"""Of the true pictures, as `true_pictures` draws them."""


@dataclass(frozen=True)
class EditExam:
    """A model, who judges it, what it may be asked, the school that its pictures are from, and where to write."""

    artist: Sumi
    judge: Judge
    syllabus: Syllabus
    school: JudgeTraining
    folder: Path

    @property
    def pipeline(self) -> Generate:
        """What draws."""
        return self.artist.pipeline

    @property
    def about(self) -> dict[str, Any]:
        """Everything that decides the figures, as JSON values: weights, settings and the judge."""
        settings = {stage.name: asdict(stage.settings) for stage in (self.pipeline.prior, self.pipeline.decoder)}
        model = {"model": self.pipeline.model.name, "hashes": dict(self.pipeline.model.hashes)}
        about: dict[str, Any] = json.loads(
            json.dumps({**model, "judge": weight_hash(self.judge), "settings": settings})
        )
        return about

    @cached_property
    def scenes(self) -> Scenes:
        """Numbered scenes of what is taught; SumiError without artwork."""
        return self.school.scenes("train")

    @property
    def scenes_seed(self) -> str:
        """Where the pictures are from."""
        return f"true pictures of scenes from seed {SCENES_SEED}"

    def pictures(self, n: int, strange: bool = False) -> tuple[list[Question], list[Source]]:
        """Return n true pictures of single things taught (or held out), each with the question it answers."""
        source: Mix | str = "concept" if strange else Mix.singles()
        asked, levels = true_pictures(self.scenes, "single", source, 2 * n)
        known = set(self.syllabus.objects)
        rows = [row for row, question in enumerate(asked) if strange or question.things[0] in known][:n]
        if len(rows) < n:
            raise SumiError(f"the artwork holds {len(rows)} pictures of things that the model was taught, too few")
        return [asked[row] for row in rows], [Source.of(to_image(levels[row])) for row in rows]

    def seen(self, sources: Sequence[Source]) -> Tensor:
        """Return pictures as the model is shown them, uint8 (B, 4, S, S)."""
        return torch.stack([source.levels(self.pipeline.size_px) for source in sources])

    def drawn(self, task: Task, *sources: Source) -> Tensor:
        """Do a task to pictures, its words drawn as they are, and return what it draws: uint8 (B, 4, S, S)."""
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

    def named(self, levels: Tensor) -> list[str]:
        """Return what the judge takes each picture for."""
        best = judge_pictures(self.judge, at_judged_size(levels)).best(1)[:, 0]
        return [self.judge.names[number] for number in best.tolist()]

    def colour(self, levels: Tensor, concept: str) -> list[str]:
        """Return which colour the judge sees where it sees a concept, in each picture."""
        asked = torch.full((len(levels), 1), self.judge.ids[concept])
        best = judge_pictures(self.judge, at_judged_size(levels), asked).colours[:, 0].argmax(dim=-1)
        return [self.judge.colours[number] for number in best.tolist()]
