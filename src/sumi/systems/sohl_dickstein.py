"""The first diffusion models: destroy a signal in many small random steps, and learn to reverse each of them.

Sohl-Dickstein et al. 2015, Deep Unsupervised Learning using Nonequilibrium Thermodynamics, arXiv 1503.03585.

    -log p(x) <= KL(q(x_T | x) || p(x_T)) + sum_k KL(q(x_s | x_t, x) || p(x_s | x_t))            (section 2.3, eq. 14)

Gaussian diffusion: x_t = alpha x + sigma eps, and a network gives the mean and the variance of each step back.
Binomial diffusion: bits become random, and a network gives the probability of each (`sumi.diffusion.binomial`).
Both are trained by the bound itself, one term at a time.

Known deviations: step sizes are not learned, and the Gaussian chain has DDPM's table; a U-Net or an MLP replaces their
multi-scale convolutions and radial basis functions; the first step is part of the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DDPMSampler,
    EpsPrediction,
    LearnedVariance,
    Network,
    NetworkDenoiser,
    Rng,
    Schedule,
    Target,
    UniformTimes,
    VariationalBound,
    normal,
)
from sumi.diffusion.binomial import BinomialLoss, BinomialPrediction, BinomialSampler, BinomialSchedule
from sumi.systems.diffusion_spec import DiffusionSpec

__all__ = ["BoundLoss", "binomial", "gaussian", "heartbeats", "swiss_roll"]

C = TypeVar("C")


@dataclass(frozen=True)
class BoundLoss:
    """One term of the Gaussian bound at a random node, T L_t, in bits a dimension: unbiased for the sum."""

    target: Target
    schedule: Schedule
    num_steps: int

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example, (B,); mean and variance both learn from it."""
        t = UniformTimes(self.num_steps)(len(x), rng).to(x)
        x_t = self.schedule(t).add_noise(x, normal(x, rng))
        estimate = NetworkDenoiser(network, self.target, self.schedule)(x_t, t, cond)
        if estimate.var_interp is None:
            raise ValueError("the bound needs a target with a learned variance")
        term = VariationalBound(self.num_steps, weight=1)
        return term(x, estimate.mean, estimate.var_interp, t, self.schedule)


def gaussian(num_steps: int = 1000) -> DiffusionSpec:
    """Return Gaussian diffusion; the paper takes 40 steps on the swiss roll and 1,000 on pictures."""
    target, chain = LearnedVariance(EpsPrediction()), BetaSchedule.linear(num_steps)
    loss = BoundLoss(target, chain, num_steps)
    return DiffusionSpec("sohl_dickstein", chain, target, loss, DDPMSampler(chain), num_steps=num_steps)


def binomial(num_steps: int = 100) -> DiffusionSpec:
    """Return binomial diffusion of bits that are -1 or +1; the paper takes 2,000 steps on the heartbeat."""
    path, loss = BinomialSchedule(), BinomialLoss(BinomialSchedule(), num_steps)
    return DiffusionSpec(
        "sohl_dickstein_bits", path, BinomialPrediction(), loss, BinomialSampler(path), num_steps=num_steps
    )


def swiss_roll(count: int, rng: torch.Generator) -> Tensor:
    """Return points (count, 2) on a spiral of one and a half turns, within about [-1, 1]."""
    turn = 1.5 * math.pi * (1 + 2 * torch.rand(count, generator=rng))
    roll = torch.stack([turn * turn.cos(), turn * turn.sin()], dim=1) / (4.5 * math.pi)
    return roll + 0.01 * torch.randn(count, 2, generator=rng)


def heartbeats(count: int, rng: torch.Generator, length: int = 20, period: int = 5) -> Tensor:
    """Return sequences (count, length) with one +1 in each period, at a random phase: log2(period) bits each."""
    phase = torch.randint(period, (count, 1), generator=rng)
    return torch.where(torch.arange(length) % period == phase, 1.0, -1.0)


GAUSSIAN = gaussian()
BINOMIAL = binomial()
