"""The times of a sampler, from 1 to 0, and the random times of training.

`Times` is a function from num_steps to the num_steps + 1 times of a sampler, falling from 1 to 0. A `TimeSampler` draws
one time per training example. Those that take a schedule are spaced in its noise level rather than in t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.diffusion.rng import Rng, uniform
from sumi.diffusion.schedule import FlowSchedule, Schedule

Times = Callable[[int], Tensor]
TimeSampler = Callable[[int, Rng], Tensor]

_FLOW = FlowSchedule()


def uniform_times(num_steps: int) -> Tensor:
    """Space the times evenly: 1, 1 - 1/n, ..., 1/n, 0, shape (num_steps + 1,). ValueError if num_steps is below 1."""
    if num_steps < 1:
        raise ValueError(f"a sampler needs at least one step, not {num_steps}")
    return torch.linspace(1, 0, num_steps + 1, dtype=torch.float32)


def logsnr_times(schedule: Schedule, low: float = -10.0, high: float = 10.0) -> Times:
    """Space the times evenly in logsnr, from `low` to `high`, then 0. Lu et al. 2022, arXiv 2206.00927, sec. 3.

    The first time is moved to 1, where sampling starts.
    """
    return lambda num_steps: _by_noise(schedule, low + (high - low) * _ramp(num_steps))


def karras_times(schedule: Schedule, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Times:
    """Space the times evenly in (sigma / alpha)^(1 / rho), then 0. Karras et al. 2022, arXiv 2206.00364, eq. 5.

    The first time is moved to 1, where sampling starts.
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return lambda num_steps: _by_noise(schedule, -2 * rho * (high + (low - high) * _ramp(num_steps)).log())


def _ramp(num_steps: int) -> Tensor:
    """num_steps numbers from 0 to 1, evenly spaced."""
    steps = torch.linspace(0, 1, num_steps, dtype=torch.float32)
    return steps if num_steps > 1 else 1 - uniform_times(num_steps)[:1]


def _by_noise(schedule: Schedule, logsnr: Tensor) -> Tensor:
    """The times of these logsnr (num_steps,), with the first moved to 1 and a 0 appended."""
    times = schedule.time(logsnr)
    return torch.cat([times.new_ones(1), times[1:], times.new_zeros(1)])


@dataclass(frozen=True)
class UniformTimes:
    """Uniform times.

    Args:
        num_steps: T, for times on the nodes 1/T, ..., 1 of a chain; None for all of [0, 1).
        stratified: draw one offset for the batch and give each example its own slice of [0, 1). Each t stays uniform,
            and the loss varies less (Kingma et al. 2021, arXiv 2107.00630, app. I.1).
    """

    num_steps: int | None = None
    stratified: bool = True

    def __call__(self, count: int, rng: Rng) -> Tensor:
        """Draw `count` times, (count,)."""
        u = _quantiles(count, rng, self.stratified)
        return u if self.num_steps is None else ((u * self.num_steps).floor() + 1) / self.num_steps


@dataclass(frozen=True)
class LogitNormalTimes:
    """Times with log(sigma / alpha) ~ N(mean, std^2), which on `FlowSchedule` is logit(t) ~ N(mean, std^2).

    Esser et al. 2024, arXiv 2403.03206, eq. 19 (flow); Karras et al. 2022, arXiv 2206.00364, table 1 (EDM, with -1.2
    and 1.2). JiT counts t from the noise: its mean of -0.8 is +0.8 here.

    Args:
        mean: mean of log(sigma / alpha).
        std: standard deviation of log(sigma / alpha).
        schedule: the schedule that turns it into t.
        stratified: as in `UniformTimes`.
    """

    mean: float = 0.0
    std: float = 1.0
    schedule: Schedule = _FLOW
    stratified: bool = True

    def __call__(self, count: int, rng: Rng) -> Tensor:
        """Draw `count` times, (count,)."""
        u = _quantiles(count, rng, self.stratified).clamp(1e-6, 1 - 1e-6)
        return self.schedule.time(-2 * (self.mean + self.std * torch.special.ndtri(u)))


def _quantiles(count: int, rng: Rng, stratified: bool) -> Tensor:
    """`count` numbers uniform on [0, 1); stratified only if the batch shares one generator."""
    if not (stratified and isinstance(rng, torch.Generator)):
        return uniform(count, rng)
    offset = uniform(1, rng)
    return (offset + torch.arange(count, device=offset.device, dtype=torch.float32) / count) % 1
