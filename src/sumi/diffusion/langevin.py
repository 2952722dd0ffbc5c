"""Annealed Langevin dynamics: at each level wander along the score until at home there, then lower the level.

x <- x + (tau / 2) score(x) + sqrt(tau) z,    tau = step_size sigma^2,    score = -eps / sigma
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import StatelessSampler, Step, finish, move
from sumi.diffusion.schedule import Schedule, per_sample

C = TypeVar("C")


@dataclass(frozen=True)
class AnnealedLangevinSampler(StatelessSampler):
    """`num_rounds` Langevin steps at every level on the way, then the mean.

    Song and Ermon 2019, arXiv 1907.05600, algorithm 1 (step_size is epsilon / sigma_L^2, 0.2 there), and the
    last denoising of Jolicoeur-Martineau et al. 2020, arXiv 2009.05475. It integrates no equation: its
    error falls with the rounds and the step size, not with num_steps, so its order is 0.
    """

    schedule: Schedule
    num_rounds: int = 5
    step_size: float = 0.2
    order: ClassVar[int] = 0
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Take x from level t to level s, and bring it to equilibrium there.

        Where alpha stays (VE), x goes on as it is, as in the paper. Where alpha grows, as on a flow, the signal in x_t
        would be too small at s, so x moves there by the estimate first.
        """
        moving = s > 0
        time = torch.where(moving, s, t)
        before, level = self.schedule(t), self.schedule(time)
        grows = before.alpha != level.alpha
        if bool(grows.any()):
            moved = move(x, denoise(x, t, cond).mean, before, level, torch.zeros_like(t))
            x = torch.where(per_sample(grows, x), moved, x)
        drift = per_sample(self.step_size / 2 * level.sigma, x)
        kick = per_sample(math.sqrt(self.step_size) * level.sigma, x)
        first = mean = denoise(x, time, cond).mean
        x_s = x
        for left in reversed(range(self.num_rounds if bool(moving.any()) else 0)):
            x_s = x_s - drift * level.noise(x_s, mean) + kick * normal(x, rng)
            mean = denoise(x_s, time, cond).mean if left else mean
        return Step(finish(s, first, x_s), first, None)
