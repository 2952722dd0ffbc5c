"""unCLIP's prior, as karlo, Kandinsky 2.2 and Stable unCLIP publish it: z_i ~ P(z_i | words), guided.

Ramesh et al. 2022, arXiv 2204.06125, section 2.2. Its embeddings are clipped to some deviations of those it was trained
on. 25 steps and guidance 4 are the defaults of diffusers' pipelines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from sumi.diffusion import NetworkDenoiser, normal
from sumi.errors import SumiError
from sumi.nn.published import PriorTransformer
from sumi.pipelines import Settings, Stage, run
from sumi.pipelines.steps import Work
from sumi.systems.published.clip_towers import CLIPTextTower, EncodedPrompts
from sumi.systems.published.conditions import prior
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import read_scheduler

__all__ = ["ANCESTRAL", "PRIOR", "PRIOR_SETTINGS", "PublishedPrior", "check_ancestral", "fork"]

PRIOR: Final = "prior"
ANCESTRAL: Final = "ddpm"
"""The one sampler of an UnCLIPScheduler."""
PRIOR_SETTINGS: Final = Settings(ANCESTRAL, 25, 4.0)


@dataclass(frozen=True)
class PublishedPrior:
    """A prior, the tower whose words it reads, and its scheduler's configuration."""

    network: PriorTransformer
    tower: CLIPTextTower
    scheduler: Mapping[str, Any]

    @classmethod
    def read(cls, loader: ModelLoader, tower: CLIPTextTower, scheduler: str = "prior_scheduler") -> PublishedPrior:
        """Load the prior of an opened model; SumiError for what does not fit."""
        network = loader.part("prior", PriorTransformer)
        words, length = int(network.config["num_embeddings"]), tower.tokenizer.length
        if words != length:
            raise SumiError(f"the prior of {loader.opened.path} reads {words} words, and its text encoder {length}")
        made = cls(network, tower, loader.scheduler(scheduler))
        _ = made.stage
        return made

    @cached_property
    def stage(self) -> Stage:
        """The stage with its default settings, made once, so that many requests' steps batch together."""
        scheduler = read_scheduler(self.scheduler, "prior_scheduler")
        denoiser = NetworkDenoiser(self.network, scheduler.target, scheduler.schedule)
        shape, sampler = (self.network.size,), scheduler.sampler
        return Stage(PRIOR, denoiser, scheduler.schedule, scheduler.times, shape, PRIOR_SETTINGS, sampler=sampler)

    def sample(
        self, text: EncodedPrompts, null: EncodedPrompts, seeds: Sequence[int], settings: Settings,
        rngs: Sequence[torch.Generator],
    ) -> Work[Tensor]:  # fmt: skip
        """Draw z_i (B, D) for each row of a text, guided away from another; the generators move on."""
        stage = self.stage.with_settings_of(settings)
        own = fork(rngs, stage.shape, settings.steps)
        noise = normal(torch.empty(len(seeds), *stage.shape), own)
        x = yield from run(stage, prior(*text), seeds, prior(*null), x=noise, rngs=own)
        return self.network.denormalise(x)


def check_ancestral(stage: str, sampler: str) -> None:
    """Raise SumiError for another sampler than the one of an UnCLIPScheduler."""
    if sampler != ANCESTRAL:
        raise SumiError(f"the sampler of the {stage} is {ANCESTRAL}, not {sampler!r}")


def fork(rngs: Sequence[torch.Generator], shape: tuple[int, ...], steps: int) -> list[torch.Generator]:
    """Return copies of generators for one stage, and move the generators past what the stage draws.

    That is as diffusers counts it: noise to start from, and noise for each step but the last.
    """
    copies = [torch.Generator().set_state(rng.get_state()) for rng in rngs]
    for rng in rngs:
        for _ in range(steps):
            torch.randn(shape, generator=rng)
    return copies
