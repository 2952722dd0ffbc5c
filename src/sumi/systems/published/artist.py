"""A published folder as an artist: it draws with the same verbs, server and studio as Sumi's own models."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from sumi import __version__
from sumi.bundles.json_file import read_object
from sumi.bundles.published import PublishedModel, PublishedPart, open_model
from sumi.errors import SumiError
from sumi.nn.published import AutoencoderKL, CLIPTextModel, UNet2DConditionModel
from sumi.pipelines import Artist, Img2img, Model, Progress, Recipe, Request, Settings, Source, Task
from sumi.pipelines.artist import Picturelike, as_image
from sumi.pipelines.events import Sample
from sumi.pipelines.prompt import clean
from sumi.pipelines.stage import batches
from sumi.pipelines.steps import Work
from sumi.pipelines.torch_state import own_torch_state
from sumi.pipelines.unclip import RANDOM_SEEDS, finished_picture, picture_seeds
from sumi.systems.published.stable_diffusion import STAGE, StableDiffusion
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["StableDiffusionArtist", "published_artist"]

BATCH: Final = 4
LARGEST_PX: Final = 2048
STEPS, GUIDANCE = 30, 7.5
UNSUPPORTED: Final = ("best_of", "prior")
TASKS: Final = (Request, Img2img)


def published_artist(path: Path, device: torch.device) -> Artist:
    """Open a published folder; SumiError for one that does not fit together or that nothing here draws with."""
    opened = open_model(path)
    if opened.name != "stable-diffusion":
        raise SumiError(f"{path} holds {opened.title}, which Sumi reads and does not draw with yet")
    if device.type != "cpu":
        raise SumiError(f"{opened.title} draws on the CPU; Sumi's own model takes other devices too")
    length = int(opened.parts["text_encoder"].config.get("max_position_embeddings", 77))
    tokenizer = CLIPTokenizer.read(path / "tokenizer", length)
    unet, vae, text_encoder = (opened.parts[name].load(torch.float32) for name in ("unet", "vae", "text_encoder"))
    assert isinstance(unet, UNet2DConditionModel)
    assert isinstance(vae, AutoencoderKL)
    assert isinstance(text_encoder, CLIPTextModel)
    scheduler = read_object(path / "scheduler" / "scheduler_config.json")
    pipeline = StableDiffusion(unet, vae, text_encoder, tokenizer, scheduler)
    pipeline.scheduler_of(pipeline.sampler)
    return StableDiffusionArtist(opened, pipeline)


@dataclass(frozen=True)
class StableDiffusionArtist(Artist):
    """Stable Diffusion with the folder of its weights."""

    opened: PublishedModel
    pipeline: StableDiffusion
    batch: int = BATCH

    def __repr__(self) -> str:
        """Return which system draws, and from which folder."""
        return f"<StableDiffusionArtist {self.opened.path.name}: {self.pipeline.size_px} px>"

    @cached_property
    def model(self) -> Model:
        """The folder's name, and the sha256 of each network's weights."""
        return Model(self.opened.path.resolve().name, {name: sha256(part) for name, part in self.opened.parts.items()})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Half, one and one and a half times the side that it was trained on; `size` takes any multiple of 8."""
        side = self.pipeline.size_px
        return (side // 2, side, 3 * side // 2)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The U-Net alone takes steps."""
        return (STAGE,)

    @property
    def settings(self) -> Settings:
        """The folder's own sampler, 30 steps, guidance 7.5."""
        return Settings(self.pipeline.sampler, STEPS, GUIDANCE)

    @property
    def grid_places(self) -> int:
        """Places of its latents."""
        return (self.pipeline.size_px // self.pipeline.vae.factor) ** 2

    @property
    def operations(self) -> tuple[str, ...]:
        """It draws prompts, also over pictures."""
        return tuple(task.operation for task in TASKS)

    def batched(self, pictures: int) -> StableDiffusionArtist:
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
        return self._work(task, [Source.of(as_image(image)) for image in images])

    @own_torch_state()
    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again from its recipe."""
        settings = recipe.stages.get(STAGE)
        if settings is None:
            raise SumiError(f"this picture was not drawn by {self.opened.title}")
        task = replace(recipe.request(), sampler=settings.sampler, steps=settings.steps, guidance=settings.guidance)
        return self._work(task, [Source.from_json(row) for row in recipe.sources])

    def _work(self, task: Task, sources: Sequence[Source]) -> Work[None]:
        self._check(task, sources)
        default = self.settings
        settings = Settings(
            default.sampler if task.sampler is None else task.sampler,
            default.steps if task.steps is None else task.steps,
            default.guidance if task.guidance is None else task.guidance,
        )
        self.pipeline.scheduler_of(settings.sampler)
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        size = self.pipeline.size_px if task.size is None else task.size
        return self._draw(replace(task, seed=seed, size=size), settings, sources)

    def _check(self, task: Task, sources: Sequence[Source]) -> None:
        """Raise SumiError for what Stable Diffusion cannot do."""
        if not isinstance(task, TASKS):
            raise self.cannot(task.operation)
        if len(sources) != (wanted := 0 if isinstance(task, Request) else 1):
            raise SumiError(f"{task.operation} is done to {wanted} pictures, not {len(sources)}")
        for setting in UNSUPPORTED:
            if getattr(task, setting, None) is not None:
                raise SumiError(f"{self.opened.title} has no {setting.replace('_', '-')} to set")
        if task.background not in ("auto", "opaque"):
            raise SumiError(f"{self.opened.title} draws the background too: background is auto or opaque")
        factor = self.pipeline.vae.factor
        if task.size is not None and (task.size % factor or not factor <= task.size <= LARGEST_PX):
            raise SumiError(f"size should be a multiple of {factor} up to {LARGEST_PX}, not {task.size}")

    def _draw(self, task: Task, settings: Settings, sources: Sequence[Source]) -> Work[None]:
        assert task.size is not None
        recipe = Recipe(
            prompt=task.prompt, negative=task.negative, seed=0, size=task.size, stages={STAGE: settings},
            model=self.model.name, version=__version__, hashes=self.model.hashes, operation=task.operation,
            options=task.options, sources=[source.kept(task.size) for source in sources],
        )  # fmt: skip
        picture = sources[0].levels(task.size) if sources else None
        strength = task.strength if isinstance(task, Img2img) else 1.0
        for some in batches(task.n, self.batch):
            started, seeds = time.perf_counter(), picture_seeds(task, task.n)[some]
            levels = yield from self.pipeline.sample(
                clean(task.prompt), clean(task.negative), seeds, settings, task.size, picture, strength
            )
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
        """Return the error of what Stable Diffusion cannot do."""
        return SumiError(f"{self.opened.title} draws and cannot {what}; Sumi's own model can")

    @own_torch_state()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return what a step's latents roughly look like, opaque uint8 (B, 4, h, w)."""
        return self.pipeline.preview(progress.mean)


def sha256(part: PublishedPart) -> str:
    """Return the hash of a network's weights: the names, shapes and bytes of its tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(part.weights.entries):
        tensor = part.weights.tensor(name).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
