"""Euler and Heun on the probability-flow equation, without a single derivative of the schedule.

    dx = mean(x, t) dalpha + eps(x, t) dsigma,    eps = (x - alpha mean) / sigma

Written as a line integral along the curve (alpha, sigma), the equation needs only the ends of a step, is
finite at both ends of every schedule, and is the usual one in each: on Flow dx/dt = eps - mean, on VE and EDM
dx/dsigma = eps (Karras et al. 2022, arXiv 2206.00364, eq. 3-4), on VP that of Song et al. 2021, eq. 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import StatelessSampler, Step, finish
from sumi.diffusion.schedule import Level, Schedule

C = TypeVar("C")


@dataclass(frozen=True)
class EulerSampler(StatelessSampler):
    """The integral by its left end. Since the left end is all it knows, it is DDIM with eta = 0, exactly."""

    schedule: Schedule
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Add (alpha_s - alpha_t) mean + (sigma_s - sigma_t) eps."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        mean = denoise(x, t, cond).mean
        x_s = x + _along(at_t, at_s, mean, at_t.noise(x, mean))
        return Step(finish(s, mean, x_s), mean, None)


@dataclass(frozen=True)
class HeunSampler(StatelessSampler):
    """The integral by the trapezoid, with an Euler step for its right end: two evaluations a step.

    Karras et al. 2022, arXiv 2206.00364, algorithm 1; the step to the data is Euler's there too.
    """

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Euler to s, then again with the average of both ends."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        mean = denoise(x, t, cond).mean
        if not bool((s > 0).any()):
            return Step(mean, mean, None)
        eps = at_t.noise(x, mean)
        guess = x + _along(at_t, at_s, mean, eps)
        there = denoise(guess, s, cond).mean
        x_s = x + _along(at_t, at_s, (mean + there) / 2, (eps + at_s.noise(guess, there)) / 2)
        return Step(finish(s, mean, x_s), mean, None)


def _along(at_t: Level, at_s: Level, mean: Tensor, eps: Tensor) -> Tensor:
    """Mean dalpha + eps dsigma over the step."""
    return Level(at_s.alpha - at_t.alpha, at_s.sigma - at_t.sigma).mix(mean, eps)
