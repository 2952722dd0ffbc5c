"""Stable Diffusion 1.x, 2.x and XL, from a published model: latent diffusion conditioned on the words of CLIP.

XL reads each word with two towers, and hears the size of the picture, so that a small one is not drawn as a crop.
Rombach et al. 2022, arXiv 2112.10752; Podell et al. 2023, SDXL, arXiv 2307.01952, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from sumi.nn import Cond
from sumi.nn.published import AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection, UNet2DConditionModel
from sumi.pipelines import Settings, Task
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.conditions import stable_diffusion, stable_diffusion_xl, zero_text
from sumi.systems.published.latent import LatentDiffusion, LatentPipeline
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import PictureBatch
from sumi.systems.published.weighted_prompt import PromptTower

__all__ = ["StableDiffusion", "StableDiffusionXL", "read_latent", "read_tower"]


@dataclass(frozen=True)
class StableDiffusion(LatentPipeline):
    """Stable Diffusion 1.x or 2.x: a U-Net in latents and the tower that reads its prompts."""

    latent: LatentDiffusion
    tower: PromptTower
    defaults: ClassVar[tuple[int, float]] = (30, 7.5)

    @classmethod
    def read(cls, loader: ModelLoader) -> StableDiffusion:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        return cls(read_latent(loader), read_tower(loader))

    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Return the words of the prompt and of the negative prompt."""
        yield from ()
        read = self.tower.encode([clean(task.prompt), clean(task.negative)])
        cond, null = (stable_diffusion(text).repeat(len(batch)) for text in read)
        return cond, null, None


@dataclass(frozen=True)
class StableDiffusionXL(LatentPipeline):
    """Stable Diffusion XL base: two towers, and zeros for no negative prompt where the folder says so."""

    latent: LatentDiffusion
    towers: tuple[PromptTower, PromptTower]
    zero_negative: bool
    defaults: ClassVar[tuple[int, float]] = (30, 5.0)

    @classmethod
    def read(cls, loader: ModelLoader) -> StableDiffusionXL:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        towers = (
            read_tower(loader),
            PromptTower(
                loader.tokenizer("tokenizer_2", "text_encoder_2"),
                loader.part("text_encoder_2", CLIPTextModelWithProjection),
            ),
        )
        return cls(read_latent(loader), towers, bool(loader.opened.settings.get("force_zeros_for_empty_prompt", True)))

    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Return the words and the embedding of the prompt and of the negative prompt, with the size of the picture."""
        yield from ()
        negative, sizes = clean(task.negative), (*batch.frame, 0, 0, *batch.frame)
        one, two = (tower.encode([clean(task.prompt), negative]) for tower in self.towers)
        if not negative and self.zero_negative:
            one, two = ([read[0], zero_text(read[1])] for read in (one, two))
        cond, null = (stable_diffusion_xl(*texts, sizes).repeat(len(batch)) for texts in zip(one, two, strict=True))
        return cond, null, None


def read_latent(loader: ModelLoader) -> LatentDiffusion:
    """Load the U-Net and the autoencoder of an opened model, and read its scheduler."""
    scheduler = loader.scheduler("scheduler")
    return LatentDiffusion(loader.part("unet", UNet2DConditionModel), loader.part("vae", AutoencoderKL), scheduler)


def read_tower(loader: ModelLoader) -> PromptTower:
    """Load the text encoder of an opened model with its tokenizer."""
    return PromptTower(loader.tokenizer(), loader.part("text_encoder", CLIPTextModel))
