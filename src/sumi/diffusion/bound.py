"""The terms of the variational bound, which train the learned variance of the reverse steps.

    L_t = KL( q(x_s | x_t, x) || N(mu(mean), var) ),    L at the last step = -log p(x | x_t)
    log var = v log beta + (1 - v) log beta_tilde

with s one node below t. With c = 1 - SNR(t) / SNR(s) (`snr_drop`), the two Gaussians differ by

    alpha_s c (x - mean)  in the mean,    v log(sigma_t^2 / sigma_s^2)  in the log-variance.

Ho et al. 2020, arXiv 2006.11239, eq. 5-7 and 13; Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 15 and 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.special import ndtr

from sumi.diffusion.schedule import Schedule, per_sample, snr_drop


@dataclass(frozen=True)
class VariationalBound:
    """The second term of L_hybrid, weight x T x L_t in bits a dimension (Improved DDPM, arXiv 2102.09672, eq. 16).

    Args:
        num_steps: T, the length of the chain.
        weight: lambda in the paper. The mean is detached, so that only `var_interp` learns from this term.
        bin_width: distance between neighbouring values of the data: eight bits on [-1, 1]. The outermost bins are
            unbounded.
    """

    num_steps: int = 1000
    weight: float = 0.001
    bin_width: float = 2 / 255

    def __call__(self, x: Tensor, mean: Tensor, var_interp: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
        """The term of each example, (B,).

        Args:
            x: clean examples, (B, ...).
            mean: the estimate of x, (B, ...).
            var_interp: v as in `Estimate`, (B, ...).
            t: (B,), on the nodes 1/T, ..., 1.
            schedule: the schedule of the chain.
        """
        k = (t * self.num_steps).round()
        lower, upper = self._log_bounds(k, schedule)
        level_t, level_s = schedule(t).like(x), schedule((k - 1) / self.num_steps).like(x)
        gap = level_s.alpha * snr_drop(level_t, level_s) * (x - mean)
        log_var = torch.lerp(per_sample(lower, x), per_sample(upper, x), var_interp)
        log_ratio = per_sample(lower, x) - log_var
        kl = (torch.exp(log_ratio) - log_ratio - 1 + gap**2 * torch.exp(-log_var)) / 2
        nll = self._negative_log_likelihood(x, mean, log_var)
        nats = torch.where(per_sample(k > 1, x), kl, nll).reshape(len(x), -1).mean(1)
        return self.weight * self.num_steps / math.log(2) * nats

    def _log_bounds(self, k: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """(log beta_tilde_k, log beta_k), each (B,). beta_tilde_1 is 0, so beta_tilde_2 takes its place."""
        level_t, level_s = schedule(k / self.num_steps), schedule((k - 1) / self.num_steps)
        log_beta = (snr_drop(level_t, level_s) * level_t.sigma**2).log()
        k = k.clamp_min(2)
        level_t, level_s = schedule(k / self.num_steps), schedule((k - 1) / self.num_steps)
        log_beta_tilde = (snr_drop(level_t, level_s) * level_s.sigma**2).log()
        return log_beta_tilde, log_beta

    def _negative_log_likelihood(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """-log of the mass that N(mean, exp(log_var)) puts on the bin of x, (B, ...)."""
        z, half = (x - mean) * torch.exp(-log_var / 2), self.bin_width / 2 * torch.exp(-log_var / 2)
        # In the lower tail, where the differences of the distribution function do not cancel.
        inner = ndtr(half - z.abs()) - ndtr(-half - z.abs())
        edge = 1 - self.bin_width / 2
        mass = torch.where(x > edge, ndtr(half - z), torch.where(x < -edge, ndtr(half + z), inner))
        return -mass.clamp_min(1e-12).log()
