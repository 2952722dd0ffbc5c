"""Score-based models: learn the score at every level of noise, and sample by Langevin dynamics or a reverse SDE.

Song and Ermon 2019, Generative Modeling by Estimating Gradients of the Data Distribution, arXiv 1907.05600 (NCSN).
Song et al. 2021, Score-Based Generative Modeling through Stochastic Differential Equations, arXiv 2011.13456.

    loss = sum over levels of sigma^2 |s(x_t) - grad log q(x_t | x)|^2,    grad log q = -eps / sigma     (2019, eq. 5-6)
    dx = f dt + g dw    is undone by    dx = (f - g^2 score) dt + g dw                                    (2021, eq. 6)
    dx = (f - g^2 score / 2) dt    has the same marginals without chance, hence a likelihood              (2021, eq. 13)

With this weight the loss of the score is that of eps, and the network predicts eps: s = -eps / sigma (NCSNv2, arXiv
2006.09011, technique 3). In discrete time the reverse equation is a predictor, which a few Langevin steps at the new
level correct (algorithms 2-5). The probability flow is sampled by `HeunSampler` or `EulerSampler`; its likelihood is
`flow_bits`.
Known deviations: the U-Net is ours; pictures lie in [-1, 1], so NCSN's levels are twice theirs; its sampling starts
from noise of the first level, not from uniform noise, and ends with a denoising; the corrector takes |z| / |score| to
be sigma, its value where the noise outweighs the signal, and not the mean over a batch, so that no sample depends on
the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from sumi.diffusion import (
    AnnealedLangevinSampler,
    DDPMSampler,
    Denoiser,
    DenoisingLoss,
    EpsPrediction,
    Rng,
    Sampler,
    Schedule,
    StatelessSampler,
    Step,
    UniformTimes,
    VESchedule,
    VPSchedule,
    normal,
    per_sample,
    uniform_times,
)
from sumi.systems.diffusion_spec import DiffusionSpec

__all__ = ["NCSN", "VE_SDE", "VP_SDE", "PredictorCorrector", "ladder", "ncsn", "noise_levels", "sde"]

C = TypeVar("C")


@dataclass(frozen=True)
class PredictorCorrector(StatelessSampler):
    """A predictor steps to the next level, and `num_corrections` Langevin steps correct it there.

    x <- x + e score + sqrt(2 e) z,  e = 2 (signal_to_noise sigma)^2. Song et al. 2021, algorithms 4 and 5. With
    the predictor DDPM(schedule, 1.0), the larger variance, this is on VE their reverse diffusion sampler (algorithm
    2) to the letter: x + (sigma_t^2 - sigma_s^2) score + sqrt(sigma_t^2 - sigma_s^2) z.
    """

    schedule: Schedule
    predictor: Sampler[None]
    signal_to_noise: float
    num_corrections: int
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Predict, then correct wherever noise is left."""
        predicted = self.predictor.step(denoise, x, t, s, cond, None, rng)
        if not bool((s > 0).any()):
            return predicted
        x_s, time = predicted.x, torch.where(s > 0, s, t)
        for _ in range(self.num_corrections):
            corrected = self.corrected(denoise, x_s, time, cond, rng)
            x_s = torch.where(per_sample(s > 0, x), corrected, predicted.x)
        return Step(x_s, predicted.mean, None)

    def corrected(self, denoise: Denoiser[C], x: Tensor, t: Tensor, cond: C, rng: Rng) -> Tensor:
        """Return x after one Langevin step at t."""
        level = self.schedule(t)
        eps = level.eps(x, denoise(x, t, cond).mean)
        stride = per_sample(self.signal_to_noise * level.sigma, x)
        return x - 2 * self.signal_to_noise * stride * eps + 2 * stride * normal(x, rng)


def ladder(highest: float = 2.0, lowest: float = 0.02, num_levels: int = 10) -> VESchedule:
    """Return NCSN's geometric levels as a schedule: from highest at t = 1 to lowest at t = 1/L."""
    return VESchedule(lowest * (lowest / highest) ** (1 / (num_levels - 1)), highest)


def noise_levels(num_levels: int) -> Tensor:
    """Return every level, the first twice: Langevin dynamics moves to a level before it samples there."""
    return torch.cat([torch.ones(1, dtype=torch.float32), uniform_times(num_levels)])


def ncsn(highest: float = 2.0, lowest: float = 0.02, num_levels: int = 10, num_rounds: int = 100) -> DiffusionSpec:
    """Return NCSN with annealed Langevin dynamics (2019, algorithm 1: T = 100 rounds, epsilon / sigma_L^2 = 0.2)."""
    levels = ladder(highest, lowest, num_levels)
    loss = DenoisingLoss(EpsPrediction(), levels, UniformTimes(num_levels))
    return DiffusionSpec(
        "ncsn", levels, EpsPrediction(), loss, AnnealedLangevinSampler(levels, num_rounds), noise_levels, num_levels
    )


def sde(name: str, schedule: Schedule, signal_to_noise: float = 0.16, num_corrections: int = 1) -> DiffusionSpec:
    """Return a continuous diffusion, sampled by predictor and corrector."""
    sampler = PredictorCorrector(schedule, DDPMSampler(schedule, 1.0), signal_to_noise, num_corrections)
    return DiffusionSpec(
        name, schedule, EpsPrediction(), DenoisingLoss(EpsPrediction(), schedule), sampler, num_steps=500
    )


NCSN = ncsn()
VE_SDE = sde("score_sde_ve", VESchedule())
VP_SDE = sde("score_sde_vp", VPSchedule())
