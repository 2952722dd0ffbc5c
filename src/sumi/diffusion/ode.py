"""Euler and Heun on the probability-flow equation, written without derivatives of the schedule.

    dx = mean(x, t) dalpha + eps(x, t) dsigma,    eps = (x - alpha mean) / sigma

As a line integral along the curve (alpha, sigma), the equation needs only the two ends of a step and stays finite at
both ends of every schedule. Written out it is the usual one in each: on Flow dx/dt = eps - mean, on VE and EDM
dx/dsigma = eps (Karras et al. 2022, arXiv 2206.00364, eq. 3-4), on VP that of Song et al. 2021, eq. 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import StatelessSampler, Step, step_to
from sumi.diffusion.schedule import Schedule

C = TypeVar("C")


@dataclass(frozen=True)
class EulerSampler(StatelessSampler):
    """Euler's method: mean and eps stay constant over a step. It equals DDIM with eta = 0."""

    schedule: Schedule
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """x_s = x + dalpha mean + dsigma eps."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        mean = denoise(x, t, cond).mean
        d_alpha, d_sigma = level_s.alpha - level_t.alpha, level_s.sigma - level_t.sigma
        x_s = x + d_alpha * mean + d_sigma * level_t.eps(x, mean)
        return step_to(s, x_s, mean, None)


@dataclass(frozen=True)
class HeunSampler(StatelessSampler):
    """Heun's method (the trapezoidal rule): two evaluations a step. Karras et al. 2022, arXiv 2206.00364, algorithm 1.

    On a schedule with alpha = 1 the lines are the paper's, with d = dx/dsigma = eps.
    """

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """An Euler step to s, then the step again with the average of both ends; the last step is Euler's."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        d_alpha, d_sigma = level_s.alpha - level_t.alpha, level_s.sigma - level_t.sigma
        mean = denoise(x, t, cond).mean
        eps = level_t.eps(x, mean)  # d_i, line 4
        x_s = x + d_alpha * mean + d_sigma * eps  # line 5
        if bool((s > 0).any()):
            mean_s = denoise(x_s, s, cond).mean
            eps_s = level_s.eps(x_s, mean_s)  # d'_i, line 7
            x_s = x + d_alpha * (mean + mean_s) / 2 + d_sigma * (eps + eps_s) / 2  # line 8
        return step_to(s, x_s, mean, None)
