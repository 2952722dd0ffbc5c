"""DDPM and DDIM: estimate x, then draw x_s from a Gaussian that knows both x and x_t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import StatelessSampler, Step, finish, move, renewal
from sumi.diffusion.schedule import Schedule, per_sample

C = TypeVar("C")


@dataclass(frozen=True)
class DDPMSampler(StatelessSampler):
    """Ancestral sampling from q(x_s | x_t, x = mean). Ho et al. 2020, arXiv 2006.11239, eq. 7, algorithm 2.

    `variance` places the log variance between its bounds: 0 is beta_tilde ("fixed small", right if the data
    were one point), 1 is beta ("fixed large", right if they were N(0, I)). A learned variance overrides it
    (Improved DDPM, arXiv 2102.09672, eq. 15), and so fits steps of any length.
    """

    schedule: Schedule
    variance: float = 0.0
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Mean of the posterior, then noise of sd sqrt(c) sigma_s^(1 - share) sigma_t^share."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        estimate = denoise(x, t, cond)
        root = renewal(at_t, at_s).sqrt()
        share = self.variance if estimate.var_interp is None else estimate.var_interp
        spread = at_s.like(x).sigma ** (1 - share) * at_t.like(x).sigma ** share
        x_s = move(x, estimate.mean, at_t, at_s, root) + per_sample(root, x) * spread * normal(x, rng)
        return Step(finish(s, estimate.mean, x_s), estimate.mean, None)


@dataclass(frozen=True)
class DDIMSampler(StatelessSampler):
    """Noise is kept (eta = 0, deterministic) or renewed as DDPM would (eta = 1), or anything between.

    Song et al. 2021, arXiv 2010.02502, eq. 12 and 16.
    """

    schedule: Schedule
    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], not {self.eta}")

    @property
    def stochastic(self) -> bool:
        """Whether any noise is renewed."""
        return self.eta > 0

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """The common move, renewing eta sqrt(c)."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        mean = denoise(x, t, cond).mean
        z = normal(x, rng) if self.stochastic else None
        x_s = move(x, mean, at_t, at_s, self.eta * renewal(at_t, at_s).sqrt(), z)
        return Step(finish(s, mean, x_s), mean, None)
