"""Multistep samplers: DPM-Solver++ 2M, its SDE form, and UniPC.

In lambda = log(alpha / sigma) the probability flow has the exact solution

    x_s = (sigma_s / sigma_t) x_t + alpha_s integral_0^h exp(r - h) mean(lambda_t + r) dr,    h = lambda_s - lambda_t

(Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, eq. 8). A constant estimate gives DDIM. These samplers extrapolate it
in a straight line through the previous estimate, which gains an order. A sample without a previous step carries h = inf
in its state, for which the line is flat, so a sample at its first step shares a batch with others at their tenth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import Step, step_to
from sumi.diffusion.schedule import MIN_DIVISOR, Level, Schedule, sigma_ratio

C = TypeVar("C")


class MultistepState(NamedTuple):
    """The estimate of the previous step, (B, ...), and the h of that step, (B, 1, ..., 1): inf where there was none."""

    mean: Tensor
    h: Tensor

    @classmethod
    def empty(cls, x: Tensor) -> MultistepState:
        """The state of samples (B, ...) that have taken no step."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return cls(
            torch.zeros_like(x), torch.full((len(x), *[1] * (x.ndim - 1)), math.inf, device=x.device, dtype=dtype)
        )

    def extrapolate(self, mean: Tensor, h: Tensor) -> Tensor:
        """D = (1 + 1 / (2r)) mean - 1 / (2r) previous mean, r = previous h / h. DPM-Solver++, algorithm 2, line 6."""
        half_inverse_r = h / (2 * self.h.clamp_min(MIN_DIVISOR))
        return (1 + half_inverse_r) * mean - half_inverse_r * self.mean


def lambda_step(level_t: Level, level_s: Level) -> Tensor:
    """h = lambda_s - lambda_t."""
    return (level_s.logsnr - level_t.logsnr) / 2


@dataclass(frozen=True)
class DPMSolver2MSampler:
    """DPM-Solver++(2M). Lu et al. 2022, arXiv 2211.01095, algorithm 2."""

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def init(self, x: Tensor) -> MultistepState:
        """No previous step."""
        return MultistepState.empty(x)

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: MultistepState, rng: Rng
    ) -> Step[MultistepState]:
        """x_s = (sigma_s / sigma_t) x - alpha_s (exp(-h) - 1) D."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        mean, h = denoise(x, t, cond).mean, lambda_step(level_t, level_s)
        d = state.extrapolate(mean, h)
        x_s = sigma_ratio(level_t, level_s) * x - level_s.alpha * torch.expm1(-h) * d
        return step_to(s, x_s, mean, MultistepState(mean, h))


@dataclass(frozen=True)
class DPMSolver2MSDESampler:
    """SDE-DPM-Solver++(2M). Lu et al. 2022, arXiv 2211.01095, sec. 5."""

    schedule: Schedule
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = True

    def init(self, x: Tensor) -> MultistepState:
        """No previous step."""
        return MultistepState.empty(x)

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: MultistepState, rng: Rng
    ) -> Step[MultistepState]:
        """x_s = (sigma_s / sigma_t) exp(-h) x + alpha_s (1 - exp(-2h)) D + sigma_s sqrt(1 - exp(-2h)) z."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        mean, h = denoise(x, t, cond).mean, lambda_step(level_t, level_s)
        d, c = state.extrapolate(mean, h), -torch.expm1(-2 * h)
        x_s = sigma_ratio(level_t, level_s) * torch.exp(-h) * x + level_s.alpha * c * d
        x_s = x_s + level_s.sigma * c.sqrt() * normal(x, rng)
        return step_to(s, x_s, mean, MultistepState(mean, h))


class UniPCState(NamedTuple):
    """Where the previous step began (x and t), its estimate and h, and those of the step before it."""

    x: Tensor
    t: Tensor
    last: MultistepState
    earlier: MultistepState


@dataclass(frozen=True)
class UniPCSampler:
    """UniPC-2 with B(h) = exp(h) - 1 ("bh2"), on the data prediction. Zhao et al. 2023, arXiv 2302.04867, alg. 1 and 2.

    The predictor is DPM-Solver++ 2M. The corrector then uses each new estimate once more, to repeat the step that led
    to it with a parabola through three estimates, which gains an order without another evaluation.
    """

    schedule: Schedule
    order: ClassVar[int] = 3
    stochastic: ClassVar[bool] = False

    def init(self, x: Tensor) -> UniPCState:
        """No previous step."""
        empty = MultistepState.empty(x)
        return UniPCState(x, torch.ones(len(x), device=x.device, dtype=empty.h.dtype), empty, empty)

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: UniPCState, rng: Rng
    ) -> Step[UniPCState]:
        """Correct x with the estimate made at it, then predict x_s from there."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        mean, h = denoise(x, t, cond).mean, lambda_step(level_t, level_s)
        x = self._correct(x, mean, level_t, state)
        d = state.last.extrapolate(mean, h)
        x_s = sigma_ratio(level_t, level_s) * x - level_s.alpha * torch.expm1(-h) * d
        return step_to(s, x_s, mean, UniPCState(x, t, MultistepState(mean, h), state.last))

    def _correct(self, x: Tensor, mean: Tensor, level: Level, state: UniPCState) -> Tensor:
        """x = (sigma / sigma_0) x_0 - alpha (exp(-h) - 1) (m_0 + rho_1 D_1 / r_1 + rho_2 D_2); x in a first step.

        m_0 is the estimate at the start of the previous step, D_1 = m_(-1) - m_0 the way from it to the estimate
        before, at r_1 = -h_(-1) / h, and D_2 = mean - m_0 the way to the new one, at r_2 = 1.
        """
        first = state.last.h.isinf()
        h = torch.where(first, 1.0, state.last.h).clamp_min(MIN_DIVISOR)
        inverse_r1 = -h / state.earlier.h.clamp_min(MIN_DIVISOR)
        rho_1, rho_2 = _corrector_weights(h, inverse_r1)
        m_0 = state.last.mean
        d = m_0 + rho_1 * inverse_r1 * (state.earlier.mean - m_0) + rho_2 * (mean - m_0)
        level_0 = self.schedule(state.t).like(x)
        corrected = sigma_ratio(level_0, level) * state.x - level.alpha * torch.expm1(-h) * d
        return torch.where(first, x, corrected)


def _corrector_weights(h: Tensor, inverse_r1: Tensor) -> tuple[Tensor, Tensor]:
    """(rho_1, rho_2), which solve rho_1 + rho_2 = b_1 and r_1 rho_1 + rho_2 = b_2, where b_n = n! phi_(n+1) / phi_1.

    Without an estimate before (1 / r_1 = 0) the paper takes 0 and 1/2.
    """
    phi_1, phi_2, phi_3 = (_phi(k, h) for k in (1, 2, 3))
    b_1, b_2 = phi_2 / phi_1, 2 * phi_3 / phi_1
    rho_1 = (b_1 - b_2) * inverse_r1 / (inverse_r1 - 1)
    return rho_1, torch.where(inverse_r1 == 0, 0.5, b_1 - rho_1)


def _phi(k: int, h: Tensor) -> Tensor:
    """phi_k(-h) = sum_j (-h)^j / (j + k)!, from phi_{k+1}(z) = (phi_k(z) - 1 / k!) / z where h is large."""
    series, closed = torch.zeros_like(h), torch.exp(-h)
    for j in range(14):
        series = series + (-h.clamp(max=1)) ** j / math.factorial(j + k)
    for i in range(k):
        closed = (1 / math.factorial(i) - closed) / h
    return torch.where(h < 1, series, closed)
