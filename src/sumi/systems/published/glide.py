"""GLIDE, from its original files: a small picture of the words, and a larger one of both.

    x_64 ~ P(x_64 | words)             the base, guided
    x_256 ~ P(x_256 | x_64, words)     the upsampler, not guided; left out where there is none

Each network has a text encoder of its own. Those for inpainting are also told the known part of the picture and where
that is. Nichol et al. 2021, GLIDE, arXiv 2112.10741, sections 3 and 4. Steps, guidance and temperature are those of
the authors' notebooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.imaging.pixels import resize
from sumi.nn import Cond
from sumi.nn.published import GlideTextEncoder, UNet2DConditionModel
from sumi.pipelines import Edit, Img2img, Progress, Request, Settings, Stage, Task, run, seeded_generators
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.gpt2_tokenizer import GPT2Tokenizer
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import RGB, AnyPrompt, OneSize, PictureBatch, opaque, over_white
from sumi.systems.published.respaced import (
    COSINE,
    DDIM,
    DDPM,
    LINEAR,
    check_respaced,
    even_times,
    fast27_times,
    respaced_stages,
)
from sumi.systems.published.scheduler import PublishedScheduler
from sumi.systems.published.starting import redraw_mask, start_stage

__all__ = ["PublishedGlide"]

BASE, UPSAMPLER = "base", "upsampler"
TEMPERATURE: Final = 0.997
"""What the noise is multiplied by that the upsampler begins with: a little less noise, a little less grain."""


@dataclass(frozen=True)
class GlideNetwork:
    """One of GLIDE's networks, with what reads its words."""

    name: str
    unet: UNet2DConditionModel
    tokenizer: GPT2Tokenizer
    text_encoder: GlideTextEncoder

    @classmethod
    def read(cls, loader: ModelLoader, name: str) -> GlideNetwork:
        """Load a network of an opened model; SumiError for a tokenizer that does not fit."""
        text_encoder = loader.part(f"{name}_text_encoder", GlideTextEncoder)
        length, vocabulary = (int(text_encoder.config[key]) for key in ("max_position_embeddings", "vocab_size"))
        tokenizer = GPT2Tokenizer.read(loader.tokenizer_folder("tokenizer"), length, vocabulary)
        return cls(name, loader.part(name, UNet2DConditionModel), tokenizer, text_encoder)

    @property
    def size_px(self) -> int:
        """Pixels along a side of its pictures."""
        return int(self.unet.config["sample_size"])

    @property
    def inpaints(self) -> bool:
        """Whether it is told a known picture and where that is."""
        return int(self.unet.config["in_channels"]) % RGB == 1

    @property
    def settings(self) -> Settings:
        """The sampler, the steps and the guidance of the authors' notebooks."""
        if self.name == BASE:
            return Settings(DDPM, 100, 5.0 if self.inpaints else 3.0)
        return Settings(DDPM if self.inpaints else DDIM, 27)

    @cached_property
    def _stages(self) -> dict[str, tuple[Stage, PublishedScheduler]]:
        """The stage by each sampler, made once, so that many requests' steps batch together."""
        betas, times = (COSINE, even_times) if self.name == BASE else (LINEAR, fast27_times)
        return respaced_stages(
            self.name, self.unet, self.size_px, betas, self.settings, dict.fromkeys((DDPM, DDIM), times)
        )

    def stage(self, settings: Settings) -> tuple[Stage, PublishedScheduler]:
        """Return the stage run as the settings say, and its scheduler."""
        stage, scheduler = self._stages[settings.sampler]
        return stage.with_settings_of(settings), scheduler

    @torch.no_grad()
    def read_words(self, prompt: str, count: int) -> Cond:
        """Return the condition of a prompt, for so many pictures."""
        return self.text_encoder(*self.tokenizer.encode([prompt])).repeat(count)  # type: ignore[no-any-return]

    def known(self, task: Task, batch: PictureBatch) -> Tensor:
        """Return what a network for inpainting is told, (B, 4, S, S): the known part of the picture, and where it is.

        Without a picture nothing is known.
        """
        if not isinstance(task, Edit):
            return torch.zeros(len(batch), RGB + 1, self.size_px, self.size_px)
        keep = 1 - redraw_mask(batch, (self.size_px, self.size_px))[None]
        return torch.cat([keep * self.encode(batch.sources), keep], dim=1).expand(len(batch), -1, -1, -1)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return premultiplied uint8 pictures (N, 4, S, S) as this network draws them, (N, 3, s, s)."""
        return resize(over_white(pictures), (self.size_px, self.size_px)).clamp(-1, 1)


@dataclass(frozen=True)
class PublishedGlide(OneSize, AnyPrompt):
    """The base, and the upsampler where there is one."""

    networks: Mapping[str, GlideNetwork]
    tasks: ClassVar[tuple[type[Task], ...]] = (Request, Img2img, Edit)
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = BASE

    @classmethod
    def read(cls, loader: ModelLoader) -> PublishedGlide:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        return cls({name: GlideNetwork.read(loader, name) for name in (BASE, UPSAMPLER) if name in loader.opened.parts})

    @property
    def settings(self) -> Mapping[str, Settings]:
        """Those of the authors' notebooks."""
        return {name: network.settings for name, network in self.networks.items()}

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """Both stages draw pictures."""
        return {name: network.size_px for name, network in self.networks.items()}

    @property
    def size_px(self) -> int:
        """Pixels along a side of a picture."""
        return max(self.drawing_stages.values())

    @property
    def grid_places(self) -> int:
        """Pixels of the small picture."""
        return self.networks[BASE].size_px ** 2

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """All stages."""
        return tuple(self.settings)

    def notes(self, task: Task) -> list[str]:
        """Say which part of a long prompt is not read."""
        return self.networks[BASE].tokenizer.notes(clean(task.prompt))

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for a sampler that a stage does not have."""
        check_respaced(stage, settings.sampler)

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the picture that a step estimates, opaque uint8 (B, 4, h, w)."""
        return opaque(progress.mean)

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""
        base = self.networks[BASE]
        if base.inpaints and isinstance(task, Edit):
            batch = with_mask_of(batch, base.size_px)
        x = yield from self._run(base, task, batch, settings[BASE], None)
        if UPSAMPLER in self.networks:
            again = task if isinstance(task, Edit) else Request(task.prompt, negative=task.negative)
            x = yield from self._run(self.networks[UPSAMPLER], again, batch, settings[UPSAMPLER], x)
        return opaque(x)

    def _run(
        self, network: GlideNetwork, task: Task, batch: PictureBatch, settings: Settings, small: Tensor | None
    ) -> Work[Tensor]:
        told = [network.known(task, batch)] if network.inpaints else []
        if small is not None:
            told.append(enlarged(small, network.size_px))
        concat = torch.cat(told, dim=1) if told else None
        conds = (network.read_words(clean(prompt), len(batch)) for prompt in (task.prompt, task.negative))
        cond, null = (replace(words, concat=concat) for words in conds)
        if network.inpaints and isinstance(task, Edit):  # the network is told what is known: each step is walked once
            task = replace(task, rounds=1)
        rngs: Sequence[torch.Generator] = seeded_generators(batch.seeds, network.name)
        stage, scheduler = network.stage(settings)
        stage, x = yield from start_stage(stage, scheduler, task, batch, network.encode, None, rngs)
        x = x if small is None else TEMPERATURE * x
        return (yield from run(stage, cond, batch.seeds, null, x=x, rngs=rngs))


def enlarged(small: Tensor, size_px: int) -> Tensor:
    """Return small pictures in [-1, 1] in levels of 255, enlarged to a size."""
    levels = ((small.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return F.interpolate(levels, (size_px, size_px), mode="bilinear", align_corners=False)


def with_mask_of(batch: PictureBatch, size_px: int) -> PictureBatch:
    """Return the pictures of an edit with a mask as coarse as small pictures are: the networks were trained so."""
    coarse = redraw_mask(batch, (size_px, size_px))
    return replace(batch, redraw=F.interpolate(coarse[None], tuple(batch.frame))[0])
