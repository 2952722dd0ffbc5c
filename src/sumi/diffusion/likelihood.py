"""The likelihood of a signal in bits a dimension: bounded by the chain, or exact by the probability flow.

    -log p(x) <= KL(q(x_T | x) || p(x_T)) + sum_k L_k                         (`VariationalBound`, summed)
    log p(x_0) = log p(x_1) + integral of div v,    dx = mean dalpha + eps dsigma = v

With J = dmean / dx_t the divergence along the curve (alpha, sigma) is tr(J) dalpha + (D - alpha tr(J)) / sigma
dsigma. Both count the bits of values that are `bin_width` apart (eight bits on [-1, 1]), so they can be compared.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.bound import VariationalBound
from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.schedule import MIN_DIVISOR, Level, Schedule

C = TypeVar("C")

EIGHT_BITS = 2 / 255


@torch.no_grad()
def bound_bits_per_dim(
    denoise: Denoiser[C],
    x: Tensor,
    schedule: Schedule,
    cond: C,
    rng: Rng,
    num_steps: int = 1000,
    var_interp: float = 0.0,
    bin_width: float = EIGHT_BITS,
) -> Tensor:
    """Estimate the variational bound by one draw at every node. Ho et al. 2020, arXiv 2006.11239, eq. 5.

    Args:
        denoise: the denoiser.
        x: examples, (B, ...).
        schedule: the schedule of the chain.
        cond: passed to the denoiser.
        rng: one generator a sample, or one for the batch.
        num_steps: T, the length of the chain.
        var_interp: as in `DDPMSampler`, where the network learned no variance.
        bin_width: distance between neighbouring values of the data.

    Returns:
        Bits a dimension, (B,).
    """
    term = VariationalBound(num_steps, 1 / num_steps, bin_width)
    end = schedule(torch.ones(len(x), dtype=x.dtype, device=x.device)).like(x)
    total = ((end.alpha * x / end.sigma) ** 2 / 2).reshape(len(x), -1).mean(1) / math.log(2)
    for k in range(1, num_steps + 1):
        t = torch.full((len(x),), k / num_steps, dtype=x.dtype, device=x.device)
        estimate = denoise(schedule(t).add_noise(x, normal(x, rng)), t, cond)
        v = torch.full_like(x, var_interp) if estimate.var_interp is None else estimate.var_interp
        total = total + term(x, estimate.mean, v, t, schedule)
    return total


def flow_bits_per_dim(
    denoise: Denoiser[C],
    x: Tensor,
    schedule: Schedule,
    times: Tensor,
    cond: C,
    rng: Rng,
    bin_width: float = EIGHT_BITS,
) -> Tensor:
    """Compute -log2 of the density of x under the probability flow, by Heun steps. Song et al. 2021, 2011.13456, D.2.

    The trace is Hutchinson's estimate with one random sign a dimension for the whole trajectory, so it is exact where J
    is diagonal.

    Args:
        denoise: the denoiser; its mean must be differentiable in x_t.
        x: examples, (B, ...).
        schedule: the schedule of the denoiser.
        times: falling from 1 to 0, (num_steps + 1,). The integral starts from alpha x at times[-2], the last time whose
            sigma is above 0.
        cond: passed to the denoiser.
        rng: one generator a sample, or one for the batch.
        bin_width: distance between neighbouring values of the data.

    Returns:
        Bits a dimension, (B,).
    """
    probe = normal(x, rng).sign()
    change = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    rising = times[:-1].flip(0).to(x)
    alpha = schedule(rising[:1]).alpha
    x, change = alpha * x, change + alpha.log()
    for t, s in pairwise(rising):
        level_t, level_s = schedule(t.expand(len(x))), schedule(s.expand(len(x)))
        step = Level(level_s.alpha - level_t.alpha, level_s.sigma - level_t.sigma)
        at_t = _velocity(denoise, x, t, level_t, cond, probe)
        at_s = _velocity(denoise, x + at_t.along(step), s, level_s, cond, probe)
        x = x + (at_t.along(step) + at_s.along(step)) / 2
        change = change + (at_t.divergence(step) + at_s.divergence(step)) / 2
    sigma = schedule(rising[-1:]).sigma
    nats = x.square().reshape(len(x), -1).mean(1) / (2 * sigma**2) + (sigma * math.sqrt(2 * math.pi)).log() - change
    return nats / math.log(2) - math.log2(bin_width)


class _Velocity(NamedTuple):
    """dx/dalpha and dx/dsigma, each (B, ...), and their divergences a dimension, each (B,)."""

    mean: Tensor
    eps: Tensor
    mean_divergence: Tensor
    eps_divergence: Tensor

    def along(self, step: Level) -> Tensor:
        """The change of x over a step (dalpha, dsigma)."""
        d_alpha, d_sigma = step.like(self.mean)
        return d_alpha * self.mean + d_sigma * self.eps

    def divergence(self, step: Level) -> Tensor:
        """The change of log density a dimension over a step, up to its sign."""
        return step.alpha * self.mean_divergence + step.sigma * self.eps_divergence


def _velocity(denoise: Denoiser[C], x: Tensor, t: Tensor, level: Level, cond: C, probe: Tensor) -> _Velocity:
    """The velocity of the probability flow at (x, t)."""
    with torch.enable_grad():
        noisy = x.detach().requires_grad_()
        mean = denoise(noisy, t.expand(len(x)), cond).mean
        (pulled,) = torch.autograd.grad((mean * probe).sum(), noisy)
    mean, trace = mean.detach(), (pulled * probe).reshape(len(x), -1).mean(1)
    eps_trace = (1 - level.alpha * trace) / level.sigma.clamp_min(MIN_DIVISOR)
    return _Velocity(mean, level.eps(x, mean), trace, eps_trace)
