"""DDIM inversion: from a signal back to the noise that draws it, by the steps of `EulerSampler` in reverse.

`EulerSampler` equals DDIM with eta = 0. A step from t down to s uses mean and eps at t, so the x_t it came from solves

    x_t = x_s - (alpha_s - alpha_t) mean(x_t, t) - (sigma_s - sigma_t) eps(x_t, t)

which is iterated from x_t = x_s. One iteration is the usual inversion of DDIM (Song et al. 2021, arXiv 2010.02502,
sec. 4.3), which needs many short steps. With a few iterations, sampler and inversion are each other's inverse at long
steps too (Garibi et al. 2024, ReNoise, arXiv 2403.14602). The denoiser is evaluated only at t > 0, where eps is
defined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import StatelessSampler, Step, trajectory
from sumi.diffusion.schedule import Schedule

C = TypeVar("C")


@dataclass(frozen=True)
class DDIMInversion(StatelessSampler):
    """A sampler along rising times, from the data to noise.

    Args:
        schedule: the schedule of the denoiser.
        rounds: iterations, and so evaluations, a step; at least 1.
        by_noise: iterate the same equation solved for x_t by eps instead of the mean, which converges where a network
            predicts noise: its mean is that divided by alpha, which is nearly 0 at the end.

    Raises:
        ValueError: rounds is below 1.
    """

    schedule: Schedule
    rounds: int = 4
    by_noise: bool = False
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"an inversion needs at least one round, not {self.rounds}")

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Step from t up to s: find the x_s from which `EulerSampler` steps down to x at t."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        d_alpha, d_sigma = level_t.alpha - level_s.alpha, level_t.sigma - level_s.sigma
        x_s = mean = x
        for _ in range(self.rounds):
            mean = denoise(x_s, s, cond).mean
            eps = level_s.eps(x_s, mean)
            if self.by_noise:
                x_s = level_s.alpha / level_t.alpha * (x - level_t.sigma * eps) + level_s.sigma * eps
            else:
                x_s = x - d_alpha * mean - d_sigma * eps
        return Step(x_s, mean, None)


def invert(
    schedule: Schedule, denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rounds: int = 4
) -> Iterator[Step[None]]:
    """Yield every step from the data up to noise. `EulerSampler` from the last x along the same times returns to x.

    Args:
        schedule: the schedule of the denoiser.
        denoise: the denoiser.
        x: signals at times[-1], (B, ...).
        times: the falling times of a sampler, (num_steps + 1,).
        cond: passed to the denoiser.
        rounds: evaluations a step; at least 1.
    """
    return trajectory(DDIMInversion(schedule, rounds), denoise, x, times.flip(0), cond, [])
