"""How likely a signal is, in bits a dimension: from above by the chain's bound, exactly by the probability flow.

    -log p(x) <= KL(q(x_T | x) || p(x_T)) + sum_k L_k                         (`VariationalBound`, summed)
    log p(x_0) = log p(x_1) + integral of div v,    dx = mean dalpha + eps dsigma = v

With J = dmean / dx_t the divergence along the curve (alpha, sigma) is tr(J) dalpha + (D - alpha tr(J)) / sigma
dsigma. Bits count values that are `bin_width` apart (eight bits on [-1, 1]), so that both can be compared.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

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
    variance: float = 0.0,
    bin_width: float = EIGHT_BITS,
) -> Tensor:
    """The variational bound of each example of x, bits a dimension, shape (B,), by one draw at every node.

    `variance` stands in for a learned one, as in `DDPM`. Ho et al. 2020, arXiv 2006.11239, eq. 5.
    """
    term = VariationalBound(num_steps, 1 / num_steps, bin_width)
    end = schedule(torch.ones(len(x), dtype=x.dtype, device=x.device)).like(x)
    total = ((end.alpha * x / end.sigma) ** 2 / 2).reshape(len(x), -1).mean(1) / math.log(2)
    for k in range(1, num_steps + 1):
        t = torch.full((len(x),), k / num_steps, dtype=x.dtype, device=x.device)
        estimate = denoise(schedule(t).mix(x, normal(x, rng)), t, cond)
        share = torch.full_like(x, variance) if estimate.var_interp is None else estimate.var_interp
        total = total + term(x, estimate.mean, share, t, schedule)
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
    """-log2 of the density of each x under the probability flow, bits a dimension, shape (B,), by Heun steps.

    times: falling from 1 to 0, as a sampler's; alpha x is taken for a sample at the last but one, where there is
    still some noise to divide by. The trace is Hutchinson's estimate with one probe of signs for the whole way, so
    exact where J is diagonal. Song et al. 2021, arXiv 2011.13456, app. D.2.
    """
    probe = normal(x, rng).sign()
    change = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    way = times[:-1].flip(0).to(x)
    alpha = schedule(way[:1]).alpha
    x, change = alpha * x, change + alpha.log()
    for t, s in pairwise(way):
        at_t, at_s = schedule(t.expand(len(x))), schedule(s.expand(len(x)))
        step = Level(at_s.alpha - at_t.alpha, at_s.sigma - at_t.sigma)
        mean, eps, to_mean, to_eps = _rates(denoise, x, t, at_t, cond, probe)
        guess = x + step.mix(mean, eps)
        mean2, eps2, to_mean2, to_eps2 = _rates(denoise, guess, s, at_s, cond, probe)
        x = x + step.mix((mean + mean2) / 2, (eps + eps2) / 2)
        change = change + step.alpha * (to_mean + to_mean2) / 2 + step.sigma * (to_eps + to_eps2) / 2
    sigma = schedule(way[-1:]).sigma
    nats = x.square().reshape(len(x), -1).mean(1) / (2 * sigma**2) + (sigma * math.sqrt(2 * math.pi)).log() - change
    return nats / math.log(2) - math.log2(bin_width)


def _rates(
    denoise: Denoiser[C], x: Tensor, t: Tensor, level: Level, cond: C, probe: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Velocities along alpha and along sigma, and the divergence of each, a dimension."""
    with torch.enable_grad():
        noisy = x.detach().requires_grad_()
        mean = denoise(noisy, t.expand(len(x)), cond).mean
        (pulled,) = torch.autograd.grad((mean * probe).sum(), noisy)
    mean, trace = mean.detach(), (pulled * probe).reshape(len(x), -1).mean(1)
    return mean, level.noise(x, mean), trace, (1 - level.alpha * trace) / level.sigma.clamp_min(MIN_DIVISOR)
