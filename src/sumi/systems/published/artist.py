"""A published folder as an artist: it draws with the same verbs, server and studio as Sumi's own models."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from sumi import __version__
from sumi.bundles.published import PublishedModel, PublishedPart, open_model
from sumi.errors import SumiError
from sumi.pipelines import Artist, Model, Progress, Recipe, Request, Settings, Source, Task
from sumi.pipelines.artist import Picturelike, as_image
from sumi.pipelines.events import Sample
from sumi.pipelines.prompt import clean
from sumi.pipelines.stage import batches
from sumi.pipelines.steps import Work
from sumi.pipelines.torch_state import own_torch_state
from sumi.pipelines.unclip import RANDOM_SEEDS, finished_picture, picture_seeds
from sumi.systems.published.karlo import Karlo
from sumi.systems.published.pipeline import PublishedPipeline
from sumi.systems.published.stable_diffusion import StableDiffusion

__all__ = ["PublishedArtist", "published_artist"]

BATCH: Final = 4
PIPELINES: Final[Mapping[str, Callable[[PublishedModel], PublishedPipeline]]] = {
    "karlo": Karlo.read,
    "stable-diffusion": StableDiffusion.read,
}
"""How a pipeline is read from a folder, by the name of the folder's system."""


def published_artist(path: Path, device: torch.device) -> Artist:
    """Open a published folder; SumiError for one that does not fit together or that nothing here draws with."""
    opened = open_model(path)
    if opened.name not in PIPELINES:
        raise SumiError(f"{path} holds {opened.title}, which Sumi reads and does not draw with yet")
    if device.type != "cpu":
        raise SumiError(f"{opened.title} draws on the CPU; Sumi's own model takes other devices too")
    return PublishedArtist(opened, PIPELINES[opened.name](opened))


@dataclass(frozen=True)
class PublishedArtist(Artist):
    """The pipeline of a published folder with the folder of its weights."""

    opened: PublishedModel
    pipeline: PublishedPipeline
    batch: int = BATCH

    def __repr__(self) -> str:
        """Return which system draws, and from which folder."""
        return f"<PublishedArtist {self.opened.path.name}: {self.opened.title}, {self.pipeline.size_px} px>"

    @cached_property
    def model(self) -> Model:
        """The folder's name, and the sha256 of each network's weights."""
        return Model(self.opened.path.resolve().name, {name: sha256(part) for name, part in self.opened.parts.items()})

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that the pipeline offers."""
        return self.pipeline.sizes

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages of the pipeline."""
        return tuple(self.pipeline.settings)

    @property
    def drawing_stages(self) -> dict[str, int]:
        """The stages that draw pictures, with the pixels a side of the picture that each draws."""
        return dict(self.pipeline.drawing_stages)

    @property
    def settings(self) -> Settings:
        """The default settings of the pipeline's main stage."""
        return self.pipeline.settings[self.pipeline.main_stage]

    @property
    def grid_places(self) -> int:
        """Places of the grid that the pipeline draws on."""
        return self.pipeline.grid_places

    @property
    def operations(self) -> tuple[str, ...]:
        """The tasks of the pipeline."""
        return tuple(task.operation for task in self.pipeline.tasks)

    def batched(self, pictures: int) -> PublishedArtist:
        """Return it drawing at most so many pictures at once."""
        return replace(self, batch=pictures)

    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Say which part of a long prompt is not read."""
        room = self.pipeline.tokenizer.length - 2
        count = self.pipeline.tokenizer.count(clean(task.prompt))
        return [f"the prompt has {count} tokens, and the model reads the first {room}"] if count > room else []

    @own_torch_state()
    def work(self, task: Task, *images: Picturelike) -> Work[None]:
        """Check a task and its picture and return it as work, which asks for every step."""
        given: dict[str, Any] = {"sampler": task.sampler, "steps": task.steps, "guidance": task.guidance}
        main = replace(self.settings, **{name: value for name, value in given.items() if value is not None})
        settings = {**self.pipeline.settings, self.pipeline.main_stage: main}
        return self._work(task, [Source.of(as_image(image)) for image in images], settings)

    @own_torch_state()
    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again from its recipe."""
        if recipe.stages.keys() != self.pipeline.settings.keys():
            raise SumiError(f"this picture was not drawn by {self.opened.title}")
        return self._work(recipe.request(), [Source.from_json(row) for row in recipe.sources], recipe.stages)

    def _work(self, task: Task, sources: Sequence[Source], settings: Mapping[str, Settings]) -> Work[None]:
        self._check(task, sources)
        for stage in settings.values():
            self.pipeline.check_sampler(stage.sampler)
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        size = self.pipeline.size_px if task.size is None else task.size
        return self._draw(replace(task, seed=seed, size=size), settings, sources)

    def _check(self, task: Task, sources: Sequence[Source]) -> None:
        """Raise SumiError for what the pipeline cannot do."""
        if not isinstance(task, self.pipeline.tasks):
            raise self.cannot(task.operation)
        if len(sources) != (wanted := 0 if isinstance(task, Request) else 1):
            raise SumiError(f"{task.operation} is done to {wanted} pictures, not {len(sources)}")
        if getattr(task, "best_of", None) is not None:
            raise SumiError(f"{self.opened.title} has no best-of to set")
        if task.prior is not None and task.prior not in self.pipeline.priors:
            raise SumiError(f"{self.opened.title} has no prior of the kind {task.prior!r}")
        if task.background not in ("auto", "opaque"):
            raise SumiError(f"{self.opened.title} draws the background too: background is auto or opaque")
        if task.size is not None:
            self.pipeline.check_size(task.size)

    def _draw(self, task: Task, settings: Mapping[str, Settings], sources: Sequence[Source]) -> Work[None]:
        assert task.size is not None
        recipe = Recipe(
            prompt=task.prompt, negative=task.negative, seed=0, size=task.size, stages=settings,
            model=self.model.name, version=__version__, hashes=self.model.hashes, operation=task.operation,
            options=task.options, sources=[source.to_record(task.size) for source in sources],
        )  # fmt: skip
        for some in batches(task.n, self.batch):
            started, seeds = time.perf_counter(), picture_seeds(task, task.n)[some]
            levels = yield from self.pipeline.draw(task, sources, seeds, settings)
            seconds = (time.perf_counter() - started) / len(seeds)
            for seed, level in zip(seeds, levels, strict=True):
                yield finished_picture(Sample(seed, level), replace(recipe, seed=seed), seconds)

    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Refuse."""
        raise self.cannot("rank")

    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Refuse."""
        raise self.cannot("classify")

    def cannot(self, what: str) -> SumiError:
        """Return the error of what the pipeline cannot do."""
        return SumiError(f"{self.opened.title} draws and cannot {what}; Sumi's own model can")

    @own_torch_state()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as opaque uint8 (B, 4, h, w); None where it is not a picture."""
        return self.pipeline.preview(progress)


def sha256(part: PublishedPart) -> str:
    """Return the hash of a network's weights: the names, shapes and bytes of its tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(part.weights.entries):
        tensor = part.weights.tensor(name).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
