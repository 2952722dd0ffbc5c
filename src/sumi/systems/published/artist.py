"""A published folder as an artist: it draws with the same verbs, server and studio as Sumi's own models."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor, nn

from sumi import __version__
from sumi.bundles.published import open_model, with_flags, with_prediction, with_prior, with_tokenizer
from sumi.errors import SumiError
from sumi.imaging.image_file import rgba
from sumi.pipelines import Artist, Blend, Edit, Img2img, Model, Progress, Recipe, Settings, Source, Task
from sumi.pipelines.edit import Canvas, canvas
from sumi.pipelines.events import Sample
from sumi.pipelines.picturelike import Picturelike, as_image
from sumi.pipelines.stage import batches
from sumi.pipelines.steps import Work
from sumi.pipelines.torch_state import own_torch_state
from sumi.pipelines.unclip import RANDOM_SEEDS, finished_picture, picture, picture_seeds
from sumi.systems.published.dvae import DiscreteVAE
from sumi.systems.published.framing import Frame, complete, frame_sources, record_sources
from sumi.systems.published.glide import PublishedGlide
from sumi.systems.published.guided_diffusion import GuidedDiffusion
from sumi.systems.published.kandinsky import Kandinsky
from sumi.systems.published.karlo import Karlo, KarloImageVariation
from sumi.systems.published.loading import Lora, ModelLoader
from sumi.systems.published.pipeline import PictureBatch, PublishedPipeline
from sumi.systems.published.scheduler import method_name
from sumi.systems.published.stable_diffusion import StableDiffusion, StableDiffusionXL
from sumi.systems.published.stable_unclip import StableUnCLIP, StableUnCLIPImage

__all__ = ["PublishedArtist", "published_artist"]

BATCH: Final = 4
PIPELINES: Final[Mapping[str, Callable[[ModelLoader], PublishedPipeline]]] = {
    "dalle-dvae": DiscreteVAE.read,
    "glide": PublishedGlide.read,
    "guided-diffusion": GuidedDiffusion.read,
    "karlo": Karlo.read,
    "karlo-image-variation": KarloImageVariation.read,
    "kandinsky": Kandinsky.read,
    "stable-diffusion": StableDiffusion.read,
    "stable-diffusion-1": StableDiffusion.read,
    "stable-diffusion-2": StableDiffusion.read,
    "stable-diffusion-xl": StableDiffusionXL.read,
    "stable-unclip": StableUnCLIP.read,
    "stable-unclip-image": StableUnCLIPImage.read,
}
"""How a pipeline is read from a model, by the name of its system."""


def published_artist(
    path: Path, device: torch.device, dtype: torch.dtype = torch.float32, loras: Sequence[Lora] = (),
    tokenizer: Path | None = None, prior: Path | None = None, prediction: str | None = None, flags: str | None = None,
) -> Artist:  # fmt: skip
    """Open a published model; SumiError for one that does not fit together or that nothing here draws with.

    Args:
        path: a folder of diffusers, a single file, or a folder of karlo's original files.
        device: where its networks compute.
        dtype: of its networks.
        loras: what is merged into them.
        tokenizer: of a single file: a folder of CLIP's tokenizer, or of a model that has one.
        prior: of Kandinsky's decoder: the folder of its prior, by default the one beside it; of karlo: another one.
        prediction: of a single file of Stable Diffusion 2.x: epsilon or v_prediction.
        flags: of a file of guided-diffusion, as its authors' scripts take them.
    """
    opened = with_prior(open_model(path), prior)
    opened = opened if tokenizer is None else with_tokenizer(opened, tokenizer)
    opened = opened if prediction is None else with_prediction(opened, prediction)
    opened = opened if flags is None else with_flags(opened, flags)
    if opened.name not in PIPELINES:
        raise SumiError(f"{path} holds {opened.title}, which Sumi reads and does not draw with yet")
    loader = ModelLoader(opened, dtype, device, loras)
    return PublishedArtist(loader, PIPELINES[opened.name](loader))


@dataclass(frozen=True)
class PublishedArtist(Artist):
    """The pipeline of a published folder with the folder of its weights."""

    loader: ModelLoader
    pipeline: PublishedPipeline
    batch: int = BATCH

    def __repr__(self) -> str:
        """Return which system draws, and from where."""
        return f"<PublishedArtist {self.loader.opened.path.name}: {self.title}, {self.pipeline.size_px} px>"

    @property
    def title(self) -> str:
        """The system as people call it."""
        return self.loader.opened.title

    @cached_property
    def model(self) -> Model:
        """The folder's name, and the sha256 of each network's weights."""
        return Model(self.loader.opened.path.resolve().name, self.loader.model_hashes())

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Its networks by the names of their parts."""
        return self.loader.networks

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
        return self.pipeline.notes(task)

    @own_torch_state()
    def work(self, task: Task, *images: Picturelike) -> Work[None]:
        """Check a task and its pictures and return it as work, which asks for every step."""
        sampler = None if task.sampler is None else method_name(task.sampler)
        given: dict[str, Any] = {"sampler": sampler, "steps": task.steps, "guidance": task.guidance}
        chosen = {**task.usual, **{name: value for name, value in given.items() if value is not None}}
        names = self.pipeline.stages_of(task)
        settings = {name: own for name, own in self.pipeline.settings.items() if name in names}
        if names:
            settings[self.pipeline.main_stage] = replace(self.settings, **chosen)
        elif any(value not in (None, getattr(self.settings, name)) for name, value in given.items()):
            raise SumiError(f"{self.title} takes no steps: it has no sampler, steps or guidance to set")
        return self._work(task, [Source.of(as_image(image)) for image in images], settings)

    @own_torch_state()
    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again; an edit needs the picture that its recipe was found in."""
        task, kept = replace(recipe, size=max(recipe.size, recipe.height or 0)).request(), list(recipe.sources)
        if recipe.stages.keys() != set(self.pipeline.stages_of(task)):
            raise SumiError(f"this picture was not drawn by {self.title}")
        sources = []
        if isinstance(task, Edit) and kept:
            if image is None:
                raise SumiError("an edit is drawn again from the picture that it is in: give that as well")
            sources, kept = [Source(rgba(as_image(image)), str(kept[0].get("sha256", "")))], kept[1:]
        return self._work(task, [*sources, *map(Source.from_json, kept)], recipe.stages)

    def _work(self, task: Task, sources: Sequence[Source], settings: Mapping[str, Settings]) -> Work[None]:
        self._check(task, sources)
        for name, stage in settings.items():
            self.pipeline.check_settings(name, stage)
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        size = self.pipeline.size_px if task.size is None else task.size
        laid = canvas(task, sources[0], sources[1] if len(sources) > 1 else None) if isinstance(task, Edit) else None
        given = laid.size if laid is not None else sources[0].size if isinstance(task, Img2img) else (1, 1)
        frame = self.pipeline.frame_of(given, size)
        return self._draw(replace(task, seed=seed), settings, sources, frame, laid)

    def _check(self, task: Task, sources: Sequence[Source]) -> None:
        """Raise SumiError for what the pipeline cannot do."""
        if not isinstance(task, self.pipeline.tasks):
            raise self.cannot(task.operation)
        least, most = task.num_images, task.num_images + isinstance(task, Edit)
        if not least <= len(sources) <= most:
            counts = least if least == most else f"{least} or {most}"
            raise SumiError(f"{task.operation} is done to {counts} pictures, not {len(sources)}")
        self.with_adapters(task.adapters)
        if getattr(task, "best_of", None) is not None:
            raise SumiError(f"{self.title} has no best-of to set")
        if getattr(task, "balance", False):
            raise SumiError(f"{self.title} has no balance to set")
        if task.prior is not None and task.prior not in self.pipeline.priors:
            raise SumiError(f"{self.title} has no prior of the kind {task.prior!r}")
        if task.background not in ("auto", "opaque"):
            raise SumiError(f"{self.title} draws the background too: background is auto or opaque")
        if task.size is not None:
            self.pipeline.check_size(task.size)
        self.pipeline.check_task(task)

    @torch.no_grad()
    def _draw(
        self, task: Task, settings: Mapping[str, Settings], sources: Sequence[Source], frame: Frame,
        laid: Canvas | None,
    ) -> Work[None]:  # fmt: skip
        assert task.seed is not None
        given, redraw = frame_sources(sources, laid, frame)
        recipe = Recipe(
            prompt=task.prompt, negative=task.negative, seed=0, size=max(frame), stages=settings,
            model=self.model.name, version=__version__, hashes=self.model.hashes, operation=task.operation,
            options=task.options, sources=record_sources(sources, laid, given),
        )  # fmt: skip
        amounts = task.amounts if isinstance(task, Blend) else []
        seeds = [task.seed] * len(amounts) if amounts else picture_seeds(task, task.n)
        for some in batches(len(seeds), self.batch):
            started = time.perf_counter()
            batch = PictureBatch(seeds[some], frame, given, redraw, amounts[some])
            levels = yield from self.pipeline.draw(task, batch, settings)
            seconds = (time.perf_counter() - started) / len(batch)
            for number, (seed, level) in enumerate(zip(batch.seeds, levels, strict=True)):
                own = replace(recipe, seed=seed)
                if batch.amounts:
                    own = replace(own, options={**recipe.options, "amount": batch.amounts[number]})
                if laid is None:
                    yield finished_picture(Sample(seed, level), own, seconds)
                else:
                    yield picture(complete(laid, level), own, seconds)

    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Refuse."""
        raise self.cannot("rank")

    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Refuse."""
        raise self.cannot("classify")

    def cannot(self, what: str) -> SumiError:
        """Return the error of what the pipeline cannot do."""
        return SumiError(f"{self.title} draws and cannot {what}; it can {', '.join(self.operations)}")

    @own_torch_state()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as opaque uint8 (B, 4, h, w); None where it is not a picture."""
        return self.pipeline.preview(progress)
