"""Samplers that remember: DPM-Solver++ 2M, its SDE form, and UniPC.

In the clock lambda = log(alpha / sigma) the probability flow is solved exactly but for the estimate,

    x_s = (sigma_s / sigma_t) x_t + alpha_s integral_0^h exp(r - h) mean(lambda_t + r) dr,
    h = lambda_s - lambda_t

(Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, eq. 8). A constant estimate gives DDIM; extending it in a
straight line through the last one gains an order. A sample without history carries h = inf in its state: the
line is then flat by itself, and samples at their first step share a batch with others at their tenth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import Step, finish, move, renewal
from sumi.diffusion.schedule import MIN_DIVISOR, Level, Schedule, per_sample

C = TypeVar("C")


class MultistepState(NamedTuple):
    """The estimate one step ago, and the h of that step, shape (B,): inf where there was none."""

    mean: Tensor
    h: Tensor

    @classmethod
    def none(cls, x: Tensor) -> MultistepState:
        """The history of samples that have none."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return cls(torch.zeros_like(x), torch.full((len(x),), math.inf, device=x.device, dtype=dtype))

    def halfway(self, mean: Tensor, h: Tensor) -> Tensor:
        """The line through the last estimate and this one, followed half a step of length h ahead."""
        ahead = h / (2 * self.h.clamp_min(MIN_DIVISOR))
        return mean + per_sample(ahead, mean) * (mean - self.mean)


def stride(at_t: Level, at_s: Level) -> Tensor:
    """h = lambda_s - lambda_t, shape (B,)."""
    return (at_s.logsnr - at_t.logsnr) / 2


class _TwoPoint:
    """The common move with the estimate of half a step ahead, renewing no noise or as much as DDPM does."""

    schedule: Schedule
    stochastic: ClassVar[bool]

    def init(self, x: Tensor) -> MultistepState:
        """No history."""
        return MultistepState.none(x)

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: MultistepState, rng: Rng
    ) -> Step[MultistepState]:
        """One step from t down to s."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        mean, h = denoise(x, t, cond).mean, stride(at_t, at_s)
        ahead = state.halfway(mean, h)
        if self.stochastic:
            x_s = move(x, ahead, at_t, at_s, renewal(at_t, at_s).sqrt(), normal(x, rng))
        else:
            x_s = move(x, ahead, at_t, at_s, torch.zeros_like(h))
        return Step(finish(s, mean, x_s), mean, MultistepState(mean, h))


@dataclass(frozen=True)
class DPMSolver2MSampler(_TwoPoint):
    """DPM-Solver++(2M). Lu et al. 2022, arXiv 2211.01095, algorithm 2."""

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False


@dataclass(frozen=True)
class DPMSolver2MSDESampler(_TwoPoint):
    """SDE-DPM-Solver++(2M). Lu et al. 2022, arXiv 2211.01095, sec. 5."""

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = True


class UniPCState(NamedTuple):
    """Where the last step began, the estimate made there, and the one before it."""

    x: Tensor
    t: Tensor
    last: MultistepState
    earlier: MultistepState


@dataclass(frozen=True)
class UniPCSampler:
    """DPM-Solver++ 2M predicts; each new estimate is used once more, to correct the step that led to it.

    The corrector repeats that step with a parabola through the estimate here and the two behind it, at no
    extra evaluation, and gains one order. UniPC-2 with B(h) = exp(h) - 1 ("bh2"), on the data prediction.
    Zhao et al. 2023, arXiv 2302.04867, algorithms 1 and 2.
    """

    schedule: Schedule
    order: ClassVar[int] = 3
    stochastic: ClassVar[bool] = False

    def init(self, x: Tensor) -> UniPCState:
        """No history."""
        none = MultistepState.none(x)
        return UniPCState(x, torch.ones_like(none.h), none, none)

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: UniPCState, rng: Rng
    ) -> Step[UniPCState]:
        """Correct x with the estimate made at it, then predict x_s."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        mean, h = denoise(x, t, cond).mean, stride(at_t, at_s)
        x = self._corrected(x, mean, at_t, state)
        x_s = move(x, state.last.halfway(mean, h), at_t, at_s, torch.zeros_like(h))
        return Step(finish(s, mean, x_s), mean, UniPCState(x, t, MultistepState(mean, h), state.last))

    def _corrected(self, x: Tensor, mean: Tensor, at_t: Level, path: UniPCState) -> Tensor:
        """The last step, repeated with the parabola; x itself where there was no last step."""
        first = path.last.h.isinf()
        here, behind = _weights(torch.where(first, 1.0, path.last.h), path.earlier.h)
        start = path.last.mean
        rise, earlier_rise = mean - start, start - path.earlier.mean
        blend = start + per_sample(here, x) * rise + per_sample(behind, x) * earlier_rise
        again = move(path.x, blend, self.schedule(path.t), at_t, torch.zeros_like(here))
        return torch.where(per_sample(first, x), x, again)


def _weights(h: Tensor, h_earlier: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the last rise of the estimate and of the one before in the parabola's weighted average.

    With no estimate before, h_earlier = inf, the paper takes 1/2 and 0.
    """
    h = h.clamp_min(MIN_DIVISOR)
    one, two, three = (_phi(k, h) for k in (1, 2, 3))
    straight, squared, ratio = two / one, 2 * three / one, h / h_earlier.clamp_min(MIN_DIVISOR)
    curve = (straight - squared) * ratio / (1 + ratio)
    return torch.where(h_earlier.isinf(), 0.5, straight - curve), curve * ratio


def _phi(k: int, h: Tensor) -> Tensor:
    """phi_k(-h) = sum_j (-h)^j / (j + k)!, from phi_{k+1}(z) = (phi_k(z) - 1 / k!) / z where h is large."""
    series, closed = torch.zeros_like(h), torch.exp(-h)
    for j in range(14):
        series = series + (-h.clamp(max=1)) ** j / math.factorial(j + k)
    for i in range(k):
        closed = (1 / math.factorial(i) - closed) / h
    return torch.where(h < 1, series, closed)
