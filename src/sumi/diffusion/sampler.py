"""What a sampler is, and the one loop that drives every one of them.

A sampler moves x from time t down to s. It keeps nothing: what it must remember is a state that the caller
carries, and t and s are per sample, so one batch may hold samples at different times and a step of one
request can share a network call with a step of another. The loop is a generator, so progress, preview,
pausing and cancelling are the caller's for free.

Nearly every sampler ends in the same move. Split x_t into the estimate and the noise it implies, x_t =
alpha_t mean + sigma_t eps, then put them together again at s, renewing a share of the noise:

    x_s = alpha_s mean + sigma_s (sqrt(1 - renew^2) eps + renew z),    z ~ N(0, I)
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
from sumi.diffusion.schedule import Level, Schedule, per_sample

C = TypeVar("C")
S = TypeVar("S")


@dataclass(frozen=True)
class Step(Generic[S]):
    """One step taken: x at s, the estimate of the clean signal made at t, and what to remember."""

    x: Tensor
    mean: Tensor
    state: S


class Sampler(Protocol[S]):
    """A way from t down to s. At s = 0 it returns the estimate itself, with no noise left.

    A state S is None or a (nested) named tuple of tensors (B, ...), so samples can be taken out and put in.
    """

    @property
    def order(self) -> int:
        """Its order of convergence: the error (of the moments, if stochastic) falls as num_steps^-order."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether it draws noise on the way."""
        ...

    def init(self, x: Tensor) -> S:
        """What it remembers before the first step."""
        ...

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: S, rng: Rng) -> Step[S]:
        """One step from t down to s, both of shape (B,)."""
        ...


class StatelessSampler:
    """A sampler that knows only where it is."""

    def init(self, x: Tensor) -> None:
        """Nothing to remember."""


@torch.no_grad()
def trajectory(
    sampler: Sampler[S], denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rng: Rng
) -> Iterator[Step[S]]:
    """Every step along falling `times`: (num_steps + 1,) for all samples, or (num_steps + 1, B) for each."""
    times = times.to(device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    state = sampler.init(x)
    for t, s in pairwise(times):
        step = sampler.step(denoise, x, t.expand(len(x)), s.expand(len(x)), cond, state, rng)
        x, state = step.x, step.state
        yield step


def sample(sampler: Sampler[S], denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rng: Rng) -> Tensor:
    """Walk the trajectory to its end and return x there."""
    for step in trajectory(sampler, denoise, x, times, cond, rng):
        x = step.x
    return x


def pure_noise(schedule: Schedule, like: Tensor, rng: Rng) -> Tensor:
    """Draw x at t = 1, sigma(1) z, with the shape of `like`."""
    end = schedule(torch.ones(len(like), device=like.device, dtype=torch.float32))
    return per_sample(end.sigma, like).to(like.dtype) * normal(like, rng)


def renewal(at_t: Level, at_s: Level) -> Tensor:
    """The share of the noise variance at t that entered after s: c = 1 - SNR(t) / SNR(s), shape (B,).

    q(x_s | x_t, x) = N(alpha_s c x + (1 - c) (alpha_s / alpha_t) x_t, c sigma_s^2); on a variance-preserving
    chain c sigma_t^2 is DDPM's beta_t and c sigma_s^2 its beta_tilde_t.
    """
    return -torch.expm1(at_t.logsnr - at_s.logsnr)


def move(x: Tensor, mean: Tensor, at_t: Level, at_s: Level, renew: Tensor, z: Tensor | None = None) -> Tensor:
    """The move above; renew has shape (B,). Without z the noise renewed is left for the caller to add."""
    kept = per_sample(at_s.sigma * torch.sqrt((1 - renew**2).clamp_min(0)), x)
    x_s = per_sample(at_s.alpha, x) * mean + kept * at_t.noise(x, mean)
    return x_s if z is None else x_s + per_sample(at_s.sigma * renew, x) * z


def finish(s: Tensor, mean: Tensor, x: Tensor) -> Tensor:
    """The mean for samples that arrive at the data (s = 0), x for the others."""
    return torch.where(per_sample(s > 0, x), x, mean)
