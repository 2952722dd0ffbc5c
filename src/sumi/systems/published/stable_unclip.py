"""Stable unCLIP 2.1: Stable Diffusion 2 that hears the CLIP embedding of a picture beside the words.

    z_i ~ P(z_i | words), or z_i = CLIP(picture)    karlo's prior in one folder, an image tower in the other
    x ~ P(x | z_i, words)                           latents, guided away from the negative prompt and from no picture

The embedding is noised to the level 0 of a chain of its own, as the U-Net was trained on. Ramesh et al. 2022, arXiv
2204.06125; the steps and the guidance are the defaults of diffusers' pipelines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from sumi.diffusion import normal
from sumi.nn import Cond
from sumi.nn.published import StableUnCLIPImageNormalizer
from sumi.pipelines import Blend, Edit, Img2img, Settings, Task, Vary
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.clip_towers import CLIPImageTower, CLIPTextTower
from sumi.systems.published.conditions import noised_embedding, stable_diffusion
from sumi.systems.published.latent import LatentDiffusion, LatentPipeline
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import PictureBatch, read_scheduler, require_prompt
from sumi.systems.published.prior import PRIOR, PublishedPrior
from sumi.systems.published.prior_pipeline import PriorPipeline
from sumi.systems.published.scheduler import PublishedScheduler
from sumi.systems.published.stable_diffusion import read_latent, read_tower
from sumi.systems.published.starting import aim_embeddings, needs_inversion
from sumi.systems.published.weighted_prompt import PromptTower

__all__ = ["StableUnCLIP", "StableUnCLIPImage"]

NOISE_LEVEL: Final = 0
TRAIN_STEPS: Final = 1000


@dataclass(frozen=True)
class NoisedEmbeddings:
    """Image embeddings as the U-Net hears them.

    Args:
        normalizer: their mean and deviation.
        noising: the configuration of the chain that noises them.
    """

    normalizer: StableUnCLIPImageNormalizer
    noising: Mapping[str, Any]

    @classmethod
    def read(cls, loader: ModelLoader) -> NoisedEmbeddings:
        """Load the normalizer of an opened model; SumiError for a chain that does not fit."""
        normalizer = loader.part("image_normalizer", StableUnCLIPImageNormalizer)
        made = cls(normalizer, loader.scheduler("image_noising_scheduler"))
        _ = made.chain
        return made

    @cached_property
    def chain(self) -> PublishedScheduler:
        """The chain that noises embeddings."""
        return read_scheduler(self.noising, "image_noising_scheduler")

    @torch.no_grad()
    def conds(self, words: Cond, negative: Cond, z_i: Tensor, rngs: Sequence[torch.Generator]) -> tuple[Cond, Cond]:
        """Return the condition of words and embeddings, (B, D), and what guidance leads away from; rngs move on."""
        level = self.chain.schedule(torch.tensor([(NOISE_LEVEL + 1) / TRAIN_STEPS]))
        vector = noised_embedding(z_i, self.normalizer, level, NOISE_LEVEL, normal(z_i, rngs))
        return replace(words, vector=vector), replace(negative, vector=torch.zeros_like(vector))


@dataclass(frozen=True)
class StableUnCLIP(PriorPipeline):
    """With karlo's prior: pictures of prompts."""

    latent: LatentDiffusion
    tower: PromptTower
    embeddings: NoisedEmbeddings
    prior: PublishedPrior
    defaults: ClassVar[tuple[int, float]] = (20, 10.0)

    @classmethod
    def read(cls, loader: ModelLoader) -> StableUnCLIP:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        prior = PublishedPrior.read(loader, CLIPTextTower.read(loader, "prior_tokenizer", "prior_text_encoder"))
        return cls(read_latent(loader), read_tower(loader), NoisedEmbeddings.read(loader), prior)

    def check_task(self, task: Task) -> None:
        """Raise SumiError for a task without words."""
        require_prompt(task)

    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Draw an image embedding for each picture, and return it with the words."""
        text, null = (self.prior.tower.encode([prompt] * len(batch)) for prompt in (clean(task.prompt), ""))
        z_i = yield from self.prior.sample(text, null, batch.seeds, settings[PRIOR], rngs)
        words, negative = read_words(self.tower, task, len(batch))
        return *self.embeddings.conds(words, negative, z_i, rngs), None


@dataclass(frozen=True)
class StableUnCLIPImage(LatentPipeline):
    """With CLIP's image tower: variations of pictures, blends of two, and pictures drawn over under a prompt."""

    latent: LatentDiffusion
    tower: PromptTower
    embeddings: NoisedEmbeddings
    images: CLIPImageTower
    defaults: ClassVar[tuple[int, float]] = (20, 10.0)

    @classmethod
    def read(cls, loader: ModelLoader) -> StableUnCLIPImage:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        images = CLIPImageTower.read(loader, "feature_extractor")
        return cls(read_latent(loader), read_tower(loader), NoisedEmbeddings.read(loader), images)

    @property
    def tasks(self) -> tuple[type[Task], ...]:
        """Those that begin with a picture; its text tower has no embedding beside the picture's, so no text diffs."""
        return (Vary, Blend, Img2img, Edit)

    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Return the embeddings of the pictures with the words."""
        yield from ()
        z_i, (words, negative) = self.images.encode(batch.sources), read_words(self.tower, task, len(batch))
        source = None
        if needs_inversion(task):
            alike = torch.Generator().manual_seed(batch.seeds[0])
            empty = stable_diffusion(self.tower.encode([""])[0]).repeat(len(z_i))
            source, _ = self.embeddings.conds(empty, empty, z_i, [alike] * len(z_i))
        return *self.embeddings.conds(words, negative, aim_embeddings(task, batch, z_i), rngs), source


def read_words(tower: PromptTower, task: Task, count: int) -> tuple[Cond, Cond]:
    """Return the words of a task's prompt and of its negative prompt, a row for each of so many pictures."""
    prompt, negative = tower.encode([clean(task.prompt), clean(task.negative)])
    return stable_diffusion(prompt).repeat(count), stable_diffusion(negative).repeat(count)
