"""The variational bound, in the part of it that teaches a network the variance of its reverse steps.

    L_t = KL( q(x_s | x_t, x) || N(mu(mean), sigma(share)^2) ),    L at the last step = -log p(x | x_t)

with s one node below t. Both Gaussians have the same form, so with c the renewed share of the noise,

    mu gap = alpha_s c (x - mean),    log var gap = share log(sigma_t^2 / sigma_s^2)

Ho et al. 2020, arXiv 2006.11239, eq. 5-7 and 13; Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 15 and 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.special import ndtr

from sumi.diffusion.sampler import renewal
from sumi.diffusion.schedule import Schedule, per_sample


@dataclass(frozen=True)
class VariationalBound:
    """L_hybrid's second term, weight x T x L_t in bits a dimension; the mean is for the other term to teach.

    t must lie on the nodes 1/T ... 1. `bin_width` is the distance between neighbouring values of the data
    (eight bits on [-1, 1]); the outermost bins reach to infinity.
    """

    num_steps: int = 1000
    weight: float = 0.001
    bin_width: float = 2 / 255

    def __call__(self, x: Tensor, mean: Tensor, var_interp: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
        """The term of each example, shape (B,); `logvar` is the share of `Estimate`."""
        k = (t * self.num_steps).round()
        lower, upper = self._log_bounds(k, schedule)
        s = schedule((k - 1) / self.num_steps)
        gap = per_sample(s.alpha * renewal(schedule(t), s), x) * (x - mean)
        log_var = torch.lerp(per_sample(lower, x), per_sample(upper, x), var_interp)
        ahead = per_sample(lower, x) - log_var
        divergence = (torch.exp(ahead) - ahead - 1 + gap**2 * torch.exp(-log_var)) / 2
        surprise = self._surprise(x, mean, log_var)
        nats = torch.where(per_sample(k > 1, x), divergence, surprise).reshape(len(x), -1).mean(1)
        return self.weight * self.num_steps / math.log(2) * nats

    def _log_bounds(self, k: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Of beta_tilde_k and beta_k. beta_tilde_1 is 0, so beta_tilde_2 stands in for it."""
        t, s = schedule(k / self.num_steps), schedule((k - 1) / self.num_steps)
        upper = (renewal(t, s) * t.sigma**2).log()
        above = k.clamp_min(2)
        t, s = schedule(above / self.num_steps), schedule((above - 1) / self.num_steps)
        return (renewal(t, s) * s.sigma**2).log(), upper

    def _surprise(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """-log of the mass that N(mean, exp(log_var)) puts on the bin of x."""
        z, half = (x - mean) * torch.exp(-log_var / 2), self.bin_width / 2 * torch.exp(-log_var / 2)
        # In the lower tail, where the differences of the distribution function do not cancel.
        inner = ndtr(half - z.abs()) - ndtr(-half - z.abs())
        edge = 1 - self.bin_width / 2
        mass = torch.where(x > edge, ndtr(half - z), torch.where(x < -edge, ndtr(half + z), inner))
        return -mass.clamp_min(1e-12).log()
