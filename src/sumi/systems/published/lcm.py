"""Latent consistency models: few steps, each to the data and back to a lower level of noise.

    x = c_skip(n) x_t + c_out(n) mean,    x_s = alpha_s x + sigma_s z
    c_skip = 0.25 / ((10 n)^2 + 0.25),    c_out = 10 n / sqrt((10 n)^2 + 0.25),    n = 0 ... 999 the step of t

Luo et al. 2023, Latent Consistency Models, arXiv 2310.04378, algorithm 3; the scalings are those of the published
weights. It needs a network that was distilled for it, as Stable Diffusion with an LCM-LoRA is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from sumi.diffusion import Denoiser, Rng, Schedule, StatelessSampler, Step, normal, step_to
from sumi.diffusion.schedule import per_sample

__all__ = ["LCMSampler", "lcm_steps"]

C = TypeVar("C")

TRAIN_STEPS = 1000
VARIANCE = 0.25
"""Of the data, as the scalings take it."""


@dataclass(frozen=True)
class LCMSampler(StatelessSampler):
    """The sampler of a consistency model over a chain of 1000 steps.

    Args:
        schedule: the schedule of the denoiser.
        scaling: what a step is multiplied by in the scalings.
    """

    schedule: Schedule
    scaling: float = 10.0
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """To the data, and up again to s with new noise."""
        level_s = self.schedule(s).like(x)
        scaled = self.scaling * (TRAIN_STEPS * t.double() - 1).round()
        skip = VARIANCE / (scaled**2 + VARIANCE)
        answer = scaled / (scaled**2 + VARIANCE).sqrt()
        mean = per_sample(answer.to(x), x) * denoise(x, t, cond).mean + per_sample(skip.to(x), x) * x
        return step_to(s, level_s.alpha * mean + level_s.sigma * normal(x, rng), mean, None)


def lcm_steps(num_steps: int, distilled: int) -> Tensor:
    """Return falling steps, (num_steps,) float64: evenly chosen of those that the network was distilled on.

    Raises:
        ValueError: there are fewer of those.
    """
    if not 1 <= num_steps <= distilled:
        raise ValueError(f"a consistency model draws in 1 to {distilled} steps, not {num_steps}")
    known = (torch.arange(distilled, 0, -1, dtype=torch.float64)) * (TRAIN_STEPS // distilled) - 1
    return known[(torch.arange(num_steps, dtype=torch.float64) * distilled / num_steps).floor().long()]
