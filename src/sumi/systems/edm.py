"""EDM: a preconditioned denoiser, whose network has inputs and targets of unit variance, and Heun's sampler.

Karras et al. 2022, Elucidating the DiffusionSpec Space of Diffusion-Based Generative Models, arXiv 2206.00364.

    D(x) = c_skip x + c_out F(c_in x, log(sigma) / 4)          c: `EDMTarget`                       (eq. 7, table 1)
    loss = |F - (x - c_skip x_t) / c_out|^2,    log sigma ~ N(-1.2, 1.2^2)                                  (eq. 8)
    dx / dsigma = (x - D) / sigma, by Heun, halting at equal steps of sigma^(1/7)                 (eq. 5, algorithm 1)

The weight lambda = (sigma^2 + d^2) / (sigma d)^2 on the error of D is weight one on F, so the loss needs no weighting.
`Churn` is the stochastic sampler (algorithm 2).

d, sigma_data, is measured. The paper calls it the standard deviation of the data, and derives the scales c for data of
mean zero: with Var[x] = d^2, input and target have unit variance, and c_skip x_t is the best linear estimate of x
(appendix B.6). The derivation uses E x^2. CIFAR-10's mean is near zero, so both are 0.5 there; pictures on an empty
background have another mean (ours: -0.46, standard deviation 0.75), and their root mean square is 0.88.
Known deviations: the U-Net is ours, so pictures are not augmented; training draws log sigma from equal slices of its
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from sumi.diffusion import (
    Denoiser,
    DenoisingLoss,
    EDMPrediction,
    EDMSchedule,
    HeunSampler,
    LogitNormalTimes,
    Rng,
    Schedule,
    Step,
    karras_times,
    normal,
)
from sumi.diffusion.sampler import StatelessSampler
from sumi.diffusion.schedule import per_sample
from sumi.errors import SumiError
from sumi.systems import Examples
from sumi.systems.diffusion_spec import DiffusionSpec, signals

__all__ = ["KARRAS", "Churn", "edm"]

C = TypeVar("C")
PUBLISHED = 0.5
"""The paper's sigma_data, that of CIFAR-10 and ImageNet in [-1, 1]."""
MEASURED, LEAST_SIGMA = 2048, 0.01


@dataclass(frozen=True)
class Churn(StatelessSampler):
    """Add noise before each of Heun's steps; it corrects errors of earlier steps.

    sigma_hat = sigma (1 + churn) where low <= sigma <= high; churn is gamma = min(S_churn / N, sqrt(2) - 1).
    The schedule must keep alpha = 1. Karras et al. 2022, algorithm 2, `noise` being S_noise.
    """

    schedule: Schedule
    churn: float = 0.2
    low: float = 0.05
    high: float = 50.0
    noise: float = 1.003
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Add noise up to t_hat, then step down to s by Heun."""
        at_t = self.schedule(t)
        stirred = (at_t.sigma >= self.low) & (at_t.sigma <= self.high)
        t_hat = torch.where(
            stirred, self.schedule.time(at_t.logsnr - 2 * torch.log1p(torch.tensor(self.churn, dtype=torch.float32))), t
        )
        added = (self.schedule(t_hat).sigma ** 2 - at_t.sigma**2).clamp_min(0).sqrt()
        x_hat = x + per_sample(self.noise * added, x) * normal(x, rng)
        return HeunSampler(self.schedule).step(denoise, x_hat, t_hat, s, cond, None, rng)


@dataclass(frozen=True)
class Preconditioned(DiffusionSpec):
    """EDM whose sigma_data is measured on the examples, so that input and target have unit variance."""

    def fit(self, examples: Examples) -> dict[str, float]:
        """Return sigma_data, the root mean square of the signals about 0, not about their mean (of the first 2,048).

        With it E |F's target|^2 is 1 at every level of noise; by the standard deviation it would differ.
        """
        some = torch.split(torch.arange(min(MEASURED, len(examples.pictures))), 256)
        squares = [signals(examples.pictures, indices).double().square().mean() * len(indices) for indices in some]
        mean = sum(squares, torch.zeros((), dtype=torch.float64)) / sum(map(len, some))
        return {"sigma_data": round(max(float(mean.sqrt()), LEAST_SIGMA), 4)}

    def with_settings(self, settings: Mapping[str, Any]) -> DiffusionSpec:
        """Return the spec for the sigma_data of a bundle, or for the published 0.5 where it names none."""
        sigma_data = settings.get("sigma_data", PUBLISHED)
        if type(sigma_data) not in (int, float) or not 0 < sigma_data < math.inf:
            raise SumiError("sigma_data in the settings should be a number above 0")
        return edm(sigma_data, self.num_steps)


def edm(sigma_data: float = PUBLISHED, num_steps: int = 18, churn: float = 0.0) -> Preconditioned:
    """Return EDM for data whose root mean square is `sigma_data`; 18 steps are 35 evaluations."""
    schedule, target = EDMSchedule(), EDMPrediction(sigma_data)
    loss = DenoisingLoss(target, schedule, LogitNormalTimes(-1.2, 1.2, schedule))
    sampler = Churn(schedule, churn) if churn else HeunSampler(schedule)
    return Preconditioned("edm", schedule, target, loss, sampler, karras_times(schedule), num_steps)


KARRAS = edm()
