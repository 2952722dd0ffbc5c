"""From a signal back to the noise that draws it: the steps of `Euler` (DDIM with eta = 0), walked backwards.

A step from t down to s integrates by its left end, so the x_t that it came from solves

    x_t = x_s - (alpha_s - alpha_t) mean(x_t, t) - (sigma_s - sigma_t) eps(x_t, t)

which is iterated from x_t = x_s. One round is the usual inversion of DDIM (Song et al. 2021, arXiv 2010.02502,
section 4.3), which needs many short steps; a few rounds make sampler and inversion each other's inverse though the
steps are long (Garibi et al. 2024, ReNoise, arXiv 2403.14602). The denoiser is asked only at t > 0, where it says what
eps is; at the data it could not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import StatelessSampler, Step, trajectory
from sumi.diffusion.schedule import Level, Schedule

C = TypeVar("C")


@dataclass(frozen=True)
class DDIMInversion(StatelessSampler):
    """A sampler that walks up: its times rise, from the data to noise. rounds: evaluations a step."""

    schedule: Schedule
    rounds: int = 4
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"an inversion needs at least one round, not {self.rounds}")

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """One step from t up to s: the x_s from which a step of `Euler` down to t would lead to x."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        change, x_s, mean = Level(at_t.alpha - at_s.alpha, at_t.sigma - at_s.sigma), x, x
        for _ in range(self.rounds):
            mean = denoise(x_s, s, cond).mean
            x_s = x - change.mix(mean, at_s.noise(x_s, mean))
        return Step(x_s, mean, None)


def invert(
    schedule: Schedule, denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rounds: int = 4
) -> Iterator[Step[None]]:
    """Every step up, from x at times[-1] to x at times[0], of the falling `times` (num_steps + 1,) of a sampler.

    rounds: evaluations a step. Sampling from the last x by `Euler` along the same times leads to the first again.
    """
    return trajectory(DDIMInversion(schedule, rounds), denoise, x, times.flip(0), cond, [])
