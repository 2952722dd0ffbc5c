"""Data so simple that the best denoiser, and where the probability flow leads, are known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sumi.diffusion import Estimate, Schedule
from sumi.diffusion.schedule import Level, per_sample


@dataclass(frozen=True)
class Mixture:
    """Every coordinate of x is drawn from sum_i weight_i N(mean_i, sd_i^2); a denoiser, and whatever its cond."""

    schedule: Schedule
    weights: Sequence[float] = (0.6, 0.4)
    means: Sequence[float] = (-0.7, 0.9)
    sds: Sequence[float] = (0.4, 0.3)

    def __call__(self, x_t: Tensor, t: Tensor, cond: object = None) -> Estimate:
        """E[x | x_t]: each component's posterior mean, weighted by its responsibility for x_t."""
        means, sds = (torch.tensor(values, dtype=x_t.dtype) for values in (self.means, self.sds))
        alpha, sigma = (per_sample(a, x_t[..., None]) for a in self.schedule(t))
        spread = alpha**2 * sds**2 + sigma**2
        z = x_t[..., None] - alpha * means
        logits = torch.tensor(self.weights, dtype=x_t.dtype).log() - spread.log() / 2 - z**2 / spread / 2
        return Estimate((logits.softmax(-1) * (means + alpha * sds**2 / spread * z)).sum(-1))

    def flow(self, x_t: Tensor, t: float, s: float) -> Tensor:
        """Where the probability flow takes x_t: on a line it keeps the rank, so the x_s of equal probability."""
        low, high = torch.full_like(x_t, -1e3), torch.full_like(x_t, 1e3)
        rank = self._cdf(x_t, t)
        for _ in range(100):
            middle = (low + high) / 2
            below = self._cdf(middle, s) < rank
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """x, shape (count, 1)."""
        which = torch.multinomial(torch.tensor(self.weights), count, replacement=True, generator=generator)
        noise = torch.randn(count, generator=generator)
        return (torch.tensor(self.means)[which] + torch.tensor(self.sds)[which] * noise)[:, None]

    def moments(self) -> tuple[float, float]:
        """Mean and variance of x."""
        mean = sum(w * m for w, m in zip(self.weights, self.means, strict=True))
        square = sum(w * (m**2 + d**2) for w, m, d in zip(self.weights, self.means, self.sds, strict=True))
        return mean, square - mean**2

    def _cdf(self, x_t: Tensor, t: float) -> Tensor:
        level = level_at(self.schedule, t)
        ranks = torch.zeros_like(x_t)
        for weight, mean, sd in zip(self.weights, self.means, self.sds, strict=True):
            spread = torch.sqrt((level.alpha * sd) ** 2 + level.sigma**2)
            ranks = ranks + weight * torch.special.ndtr((x_t - level.alpha * mean) / spread)
        return ranks


def gaussian(schedule: Schedule, mean: float = 0.0, sd: float = 0.5) -> Mixture:
    """A mixture of one."""
    return Mixture(schedule, (1.0,), (mean,), (sd,))


def level_at(schedule: Schedule, t: float) -> Level:
    """The level at one time, in float64, shape (1,)."""
    return schedule(torch.tensor([t], dtype=torch.float64))


def line(start: float, end: float, num_steps: int) -> Tensor:
    """Equal steps in float64."""
    return torch.linspace(start, end, num_steps + 1, dtype=torch.float64)


def slope(num_steps: Sequence[int], errors: Sequence[float]) -> float:
    """The order of convergence: minus the slope of log error over log num_steps, by least squares."""
    x = torch.tensor([math.log(n) for n in num_steps])
    y = torch.tensor([math.log(e) for e in errors])
    x, y = x - x.mean(), y - y.mean()
    return -float((x * y).sum() / (x * x).sum())


def rows(state: Any, *index: int) -> Any:
    """These samples of a sampler's state."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state[list(index)]
    return type(state)(*(rows(part, *index) for part in state))


def stacked(states: Sequence[Any]) -> Any:
    """The states of several batches as one."""
    if states[0] is None or isinstance(states[0], Tensor):
        return None if states[0] is None else torch.cat(list(states))
    return type(states[0])(*(stacked(parts) for parts in zip(*states, strict=True)))
