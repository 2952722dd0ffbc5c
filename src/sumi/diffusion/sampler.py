"""What a sampler is, and the loop that drives all of them. Reading path, 4 of 5; next: `loss.py`.

A sampler moves x from time t down to s. It is stateless: what a multistep method remembers is a value that the caller
carries. t and s are per sample, so one batch may hold samples at different times, and a step of one request can share a
network call with a step of another. The loop is a generator, so its caller shows progress and previews, pauses and
cancels. The samplers are in `ancestral.py` (DDPM, DDIM), `ode.py` (Euler, Heun), `multistep.py` (DPM-Solver++, UniPC)
and `langevin.py`; each reads as its paper does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.schedule import Schedule, per_sample

C = TypeVar("C")
S = TypeVar("S")


@dataclass(frozen=True)
class Step(Generic[S]):
    """One step from t to s.

    Attributes:
        x: x_s, (B, ...).
        mean: the estimate of the clean signal made at t, (B, ...).
        state: what the sampler remembers for the next step.
    """

    x: Tensor
    mean: Tensor
    state: S


class Sampler(Protocol[S]):
    """A method that moves x from t down to s. At s = 0 it returns the estimate itself, with no noise left.

    A state S is None or a (nested) named tuple of tensors (B, ...), so samples can join and leave a batch.
    """

    @property
    def order(self) -> int:
        """The order of convergence: the error (of the moments, if stochastic) falls as num_steps^-order."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether a step adds noise."""
        ...

    def init(self, x: Tensor) -> S:
        """The state before the first step of x (B, ...)."""
        ...

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: S, rng: Rng) -> Step[S]:
        """Take one step.

        Args:
            denoise: the denoiser, called once a step or twice.
            x: x_t, (B, ...).
            t: the time of each sample, (B,), in (0, 1].
            s: the time that each sample goes to, (B,), in [0, t).
            cond: passed to the denoiser.
            state: that of the step before, or of `init`.
            rng: one generator a sample, or one for the batch; read only by stochastic samplers.
        """
        ...


class StatelessSampler:
    """A sampler without a state: every step depends on x, t and s alone."""

    def init(self, x: Tensor) -> None:
        """No state."""


@torch.no_grad()
def trajectory(
    sampler: Sampler[S], denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rng: Rng
) -> Iterator[Step[S]]:
    """Yield every step from x at times[0] to times[-1].

    Args:
        sampler: the method.
        denoise: the denoiser, on the sampler's schedule.
        x: x at times[0], (B, ...); `pure_noise` for times[0] = 1.
        times: falling, (num_steps + 1,) for all samples or (num_steps + 1, B) for each.
        cond: passed to the denoiser.
        rng: one generator a sample, or one for the batch.
    """
    times = times.to(device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    state = sampler.init(x)
    for t, s in pairwise(times):
        step = sampler.step(denoise, x, t.expand(len(x)), s.expand(len(x)), cond, state, rng)
        x, state = step.x, step.state
        yield step


def sample(sampler: Sampler[S], denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rng: Rng) -> Tensor:
    """Return x at the end of `trajectory`, (B, ...)."""
    for step in trajectory(sampler, denoise, x, times, cond, rng):
        x = step.x
    return x


def pure_noise(schedule: Schedule, like: Tensor, rng: Rng) -> Tensor:
    """Draw x at t = 1, sigma(1) z with z ~ N(0, I), in the shape, device and dtype of `like` (B, ...)."""
    end = schedule(torch.ones(len(like), device=like.device, dtype=torch.float32))
    return per_sample(end.sigma, like).to(like.dtype) * normal(like, rng)


def step_to(s: Tensor, x_s: Tensor, mean: Tensor, state: S) -> Step[S]:
    """Make the step to x_s; samples that arrive at the data (s = 0) take the mean itself, free of rounding."""
    return Step(torch.where(per_sample(s > 0, x_s), x_s, mean), mean, state)
