"""Kandinsky 2.2: unCLIP whose decoder hears the image embedding alone and draws in the latents of MoVQ.

    z_i ~ P(z_i | words), or z_i = CLIP(picture)    the prior's folder
    x ~ P(x | z_i)                                  the decoder's folder, guided away from the embedding of no picture

Razzhigaev et al. 2023, Kandinsky, arXiv 2310.03502; Ramesh et al. 2022, arXiv 2204.06125. The steps and the guidance
are the defaults of diffusers' pipelines, but for the decoder's 100 steps. A seed draws what diffusers'
KandinskyV22CombinedPipeline draws from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sumi.nn import Cond
from sumi.nn.published import UNet2DConditionModel, VQModel
from sumi.pipelines import Blend, Edit, Img2img, Request, Restyle, Settings, Task, Vary
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.clip_towers import CLIPImageTower, CLIPTextTower
from sumi.systems.published.conditions import kandinsky
from sumi.systems.published.latent import LatentDiffusion
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import PictureBatch
from sumi.systems.published.prior import PRIOR, PublishedPrior
from sumi.systems.published.prior_pipeline import PriorPipeline
from sumi.systems.published.starting import aim_embeddings, needs_inversion

__all__ = ["Kandinsky"]


@dataclass(frozen=True)
class Kandinsky(PriorPipeline):
    """The networks of both folders."""

    latent: LatentDiffusion
    prior: PublishedPrior
    images: CLIPImageTower
    defaults: ClassVar[tuple[int, float]] = (50, 4.0)

    @classmethod
    def read(cls, loader: ModelLoader) -> Kandinsky:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        unet, movq = loader.part("unet", UNet2DConditionModel), loader.part("movq", VQModel)
        latent = LatentDiffusion(unet, movq, loader.scheduler("scheduler"))
        tower = CLIPTextTower.read(loader)
        return cls(latent, PublishedPrior.read(loader, tower), CLIPImageTower.read(loader, "image_processor"))

    @property
    def tasks(self) -> tuple[type[Task], ...]:
        """All that CLIP's embeddings allow; a U-Net for inpainting draws from noise alone."""
        return (Request, Edit) if self.latent.inpaints else (Request, Img2img, Edit, Vary, Blend, Restyle)

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """The prior runs where there are words to draw from."""
        return tuple(self.settings) if clean(task.prompt) else (self.main_stage,)

    def notes(self, task: Task) -> list[str]:
        """Say which part of a long prompt is not read."""
        return self.prior.tower.tokenizer.notes(clean(task.prompt))

    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Return the embedding of each picture: from the words, else from the task's own pictures."""
        null = self.images.nothing().expand(len(batch), -1)
        negative = clean(task.negative)
        if clean(task.prompt):
            z_i = yield from self._sample(clean(task.prompt), negative, batch, settings, rngs)
            if negative:  # with nothing to guide it away from, as diffusers draws it
                null = yield from self._sample(negative, negative, batch, settings, rngs)
            return kandinsky(z_i), kandinsky(null), None
        z_i = self.images.encode(batch.sources)
        z_d = None
        if isinstance(task, Restyle):
            z_d = self.prior.tower.direction(clean(task.before), clean(task.after))
            null = z_i.repeat(len(batch), 1)  # guidance leads away from the picture as it was
        source = kandinsky(z_i) if needs_inversion(task) else None
        return kandinsky(aim_embeddings(task, batch, z_i, z_d)), kandinsky(null), source

    def _sample(
        self, prompt: str, negative: str, batch: PictureBatch, settings: Mapping[str, Settings],
        rngs: Sequence[torch.Generator],
    ) -> Work[Tensor]:  # fmt: skip
        text, null = (self.prior.tower.encode([one] * len(batch)) for one in (prompt, negative))
        return (yield from self.prior.sample(text, null, batch.seeds, settings[PRIOR], rngs))
