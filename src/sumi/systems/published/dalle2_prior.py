"""The diffusion prior of DALLE2-pytorch, in place of another's: z_i ~ P(z_i | words).

    x_0 = s z_i / |z_i|,    s = sqrt(dim)        embeddings of unit length, scaled for the diffusion

It predicts x_0, by DDPM along the whole chain or by DDIM with eta = 1. A decoder such as karlo's hears embeddings as
CLIP gives them, so z_i leaves with the root mean square of their lengths. Ramesh et al. 2022, arXiv 2204.06125, section
2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.bundles.published import DALLE2PriorConfig
from sumi.diffusion import (
    AdjustedSampler,
    BetaSchedule,
    DDPMSampler,
    Denoiser,
    Estimate,
    NetworkDenoiser,
    Sampler,
    Step,
    X0Prediction,
    normal,
)
from sumi.diffusion.sampler import step_to
from sumi.errors import SumiError
from sumi.nn import Cond
from sumi.nn.published import DiffusionPriorNetwork
from sumi.pipelines import Settings, Stage, run
from sumi.pipelines.steps import Work
from sumi.systems.published.clip_towers import EncodedPrompts
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.prior import PRIOR, fork

__all__ = ["DALLE2Prior", "EarlyDDIMSampler", "prior_times"]

C = TypeVar("C")
S = TypeVar("S")
DDPM, DDIM = "ddpm", "ddim"
USUAL_STEPS: Final = 64
"""Where a configuration says no number of steps: as in the package's own instructions."""


def prior_times(num_steps: int, train_steps: int = 1000) -> Tensor:
    """Return the times of DDIM as the package lays them out: whole steps from -1, the data, up to the last but one."""
    steps = torch.linspace(-1.0, train_steps, num_steps + 1)[:-1].int()
    return (steps.flip(0) + 1) / train_steps


@dataclass(frozen=True)
class EarlyDDIMSampler:
    """DDIM with eta = 1 whose steps lead to levels one step of the chain nearer to the data than their times.

    So the package does it; the estimate of the noise is that of the time itself.
    """

    schedule: BetaSchedule
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def init(self, x: Tensor) -> None:
        """Nothing is remembered."""

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Any) -> Step[None]:
        """Draw x_s from q(x_s | x_t, x = mean) of the earlier levels."""
        mean = denoise(x, t, cond).mean
        eps = self.schedule(t).like(x).eps(x, mean)
        earlier = 1 / self.schedule.num_steps
        before, after = (self.schedule((time - earlier).clamp(min=0)).like(x) for time in (t, s))
        kept = (before.alpha / after.alpha) ** 2
        sigma = (((1 - kept) * after.sigma**2) / before.sigma**2).clamp(min=0).sqrt()
        away = (after.sigma**2 - sigma**2).clamp(min=0).sqrt()
        return step_to(s, after.alpha * mean + sigma * normal(x, rng) + away * eps, mean, None)


@dataclass(frozen=True)
class UnitSampler(AdjustedSampler[S]):
    """A sampler on means of one length, after guidance."""

    length: float

    def adjust(self, denoise: Denoiser[C]) -> Denoiser[C]:
        """Make the mean that long."""

        def of_length(x_t: Tensor, time: Tensor, told: C, /) -> Estimate:
            return Estimate(self.length * F.normalize(denoise(x_t, time, told).mean, dim=-1))

        return of_length


@dataclass(frozen=True)
class DALLE2Prior:
    """The network, how it samples, and what its embeddings are multiplied by for the decoder that hears them."""

    network: DiffusionPriorNetwork
    config: DALLE2PriorConfig
    betas: tuple[float, ...]
    length: float = 1.0

    @classmethod
    def read(cls, loader: ModelLoader) -> DALLE2Prior:
        """Load the prior of an opened model."""
        network, given = loader.part(PRIOR, DiffusionPriorNetwork), loader.opened.settings[PRIOR]
        return cls(network, given["config"], given["betas"], given["length"])

    @property
    def scale(self) -> float:
        """What embeddings of unit length are multiplied by, for the diffusion."""
        given = self.config.image_embed_scale
        return float(self.network.size) ** 0.5 if given is None else given

    @property
    def chain(self) -> BetaSchedule:
        """The chain of noise: the cosine or linear one exactly where the file's is that, rounded to float32."""
        stored = torch.tensor(self.betas, dtype=torch.float64)
        for chain in (BetaSchedule.cosine(), BetaSchedule.linear()):
            if torch.allclose(stored, torch.tensor(chain.betas, dtype=torch.float64), rtol=1e-5, atol=1e-9):
                return chain
        return BetaSchedule(self.betas)

    @property
    def settings(self) -> Settings:
        """DDIM in the configuration's steps, or DDPM where those are the whole chain; not guided."""
        steps = self.config.sample_timesteps or USUAL_STEPS
        return Settings(DDPM if steps >= len(self.betas) else DDIM, min(steps, len(self.betas)))

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stage by each sampler, made once, so that many requests' steps batch together."""
        chain = self.chain
        denoiser = NetworkDenoiser(self.network, X0Prediction(), chain)
        samplers: dict[str, tuple[Sampler[Any], Any]] = {
            DDPM: (DDPMSampler(chain), whole_chain), DDIM: (EarlyDDIMSampler(chain), prior_times)
        }  # fmt: skip
        made = {}
        for name, (sampler, times) in samplers.items():
            kept = UnitSampler(sampler, self.scale) if self.config.sampling_clamp_l2norm else sampler
            shape, settings = (self.network.size,), self.settings
            made[name] = Stage(PRIOR, denoiser, chain, times, shape, settings, sampler=kept)
        return made

    def check_settings(self, settings: Settings) -> None:
        """Raise SumiError for a sampler that it does not have, or for steps that its chain does not have."""
        if settings.sampler not in self.stages:
            raise SumiError(f"the samplers of the {PRIOR} are {DDPM} and {DDIM}, not {settings.sampler!r}")
        whole = len(self.betas)
        if settings.sampler == DDPM and settings.steps != whole:
            raise SumiError(f"{DDPM} takes the {whole} steps of the {PRIOR}'s chain, not {settings.steps}")
        if settings.sampler == DDIM and not 2 <= settings.steps < whole:
            raise SumiError(f"{DDIM} takes 2 to {whole - 1} steps of the {PRIOR}'s chain, not {settings.steps}")

    def cond(self, text: EncodedPrompts) -> Cond:
        """Return what the network is told of texts: z_t of unit length, and the words, zeros where there is none."""
        features, mask = text
        words = features.tokens * mask[..., None] if self.config.condition_on_text_encodings else None
        return Cond(F.normalize(features.pooled, dim=-1), words)

    def sample(
        self, text: EncodedPrompts, null: EncodedPrompts, seeds: Sequence[int], settings: Settings,
        rngs: Sequence[torch.Generator],
    ) -> Work[Tensor]:  # fmt: skip
        """Draw z_i (B, D) for each row of a text; the generators move on.

        null: not read, since guidance leads away from the learned rows.
        """
        own = fork(rngs, (self.network.size,), settings.steps)
        return (yield from self.sample_from(self.cond(text), seeds, settings, own))

    def sample_from(
        self, cond: Cond, seeds: Sequence[int], settings: Settings, rngs: Sequence[torch.Generator]
    ) -> Work[Tensor]:
        """Draw z_i (B, D) under conditions, times the decoder's length."""
        stage = self.stages[settings.sampler].with_settings_of(settings)
        x = normal(torch.empty(len(seeds), *stage.shape), rngs)
        if self.config.init_image_embed_l2norm:
            x = self.scale * F.normalize(x, dim=-1)
        x = yield from run(stage, cond, seeds, x=x, rngs=rngs)
        if self.config.sampling_final_clamp_l2norm:
            x = self.scale * F.normalize(x, dim=-1)
        return self.length / self.scale * x


def whole_chain(num_steps: int) -> Tensor:
    """Return the times of every step, then 0."""
    return torch.arange(num_steps, -1, -1) / num_steps
