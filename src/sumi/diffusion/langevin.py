"""Annealed Langevin dynamics: at each noise level, a few Langevin steps along the score; then the next lower level.

x <- x + (tau / 2) score(x) + sqrt(tau) z,    tau = step_size sigma^2,    score = -eps / sigma
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import StatelessSampler, Step, step_to
from sumi.diffusion.schedule import MIN_DIVISOR, Schedule, per_sample

C = TypeVar("C")


@dataclass(frozen=True)
class AnnealedLangevinSampler(StatelessSampler):
    """Annealed Langevin dynamics. Song and Ermon 2019, arXiv 1907.05600, algorithm 1.

    The last step returns the mean (Jolicoeur-Martineau et al. 2020, arXiv 2009.05475). The error falls with num_rounds
    and step_size and not with the number of levels, so the order is 0.

    Args:
        schedule: the schedule of the denoiser.
        num_rounds: Langevin steps at each level.
        step_size: tau / sigma^2; the paper's epsilon / sigma_L^2 is 0.2.
    """

    schedule: Schedule
    num_rounds: int = 5
    step_size: float = 0.2
    order: ClassVar[int] = 0
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Take `num_rounds` Langevin steps at level s; a sample that arrives at the data takes none.

        Where alpha is constant (VE), x enters the level as it is, as in the paper. Where alpha grows, as on a flow, the
        signal in x_t is too small for level s, so a DDIM step brings x there first.
        """
        moves = s > 0
        time = torch.where(moves, s, t)
        level_t, level = self.schedule(t), self.schedule(time)
        grows = level_t.alpha != level.alpha
        if bool(grows.any()):
            mean = denoise(x, t, cond).mean
            x = torch.where(per_sample(grows, x), level.add_noise(mean, level_t.eps(x, mean)), x)
        sigma = per_sample(level.sigma, x)
        first = mean = denoise(x, time, cond).mean
        x_s = x
        for left in reversed(range(self.num_rounds if bool(moves.any()) else 0)):
            score = -level.eps(x_s, mean) / sigma.clamp_min(MIN_DIVISOR)
            tau = self.step_size * sigma**2
            x_s = x_s + tau / 2 * score + tau.sqrt() * normal(x, rng)
            mean = denoise(x_s, time, cond).mean if left else mean
        return step_to(s, x_s, first, None)
