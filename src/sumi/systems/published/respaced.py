"""The chains of OpenAI's guided-diffusion and GLIDE: 1000 steps, a learned variance, and how fewer are walked.

    respaced((10, 10, 3, 2, 2))    10 steps of the first fifth of the chain, ..., 2 of the last, ends included

Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, arXiv 2102.09672, section 4. Estimates are
kept in [-1, 1], after guidance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    EpsPrediction,
    LearnedVariance,
    NetworkDenoiser,
    Sampler,
    Target,
    ThresholdedSampler,
    Times,
    spaced_steps,
)
from sumi.errors import SumiError
from sumi.nn.published import UNet2DConditionModel, UNet2DModel
from sumi.pipelines import Settings, Stage
from sumi.systems.published.pipeline import RGB
from sumi.systems.published.scheduler import PublishedScheduler, times_of

__all__ = [
    "COSINE",
    "DDIM",
    "DDPM",
    "LINEAR",
    "check_respaced",
    "even_times",
    "fast27_times",
    "respaced",
    "respaced_scheduler",
    "respaced_stages",
    "strided_times",
]

TRAIN_STEPS: Final = 1000
DDPM, DDIM = "ddpm", "ddim"
COSINE, LINEAR = "cosine", "linear"
FAST27: Final = (10, 10, 3, 2, 2)
"""How GLIDE's upsampler divides its 27 steps; the first of them begins two lower than at the end of the chain."""


def respaced(sections: Sequence[int]) -> Tensor:
    """Return falling steps of the chain, float64: so many evenly in each of its equal sections, the lowest first."""
    size, more = divmod(TRAIN_STEPS, len(sections))
    steps, start = [], 0
    for number, count in enumerate(sections):
        length = size + (number < more)
        steps.append(start + torch.linspace(0, length - 1, count, dtype=torch.float64).round())
        start += length
    return torch.cat(steps).flip(0)


def even_times(num_steps: int) -> Tensor:
    """Return the times of steps evenly from the last to the first, then 0."""
    return times_of(spaced_steps("linspace", num_steps).round(), last=0.0)


def fast27_times(num_steps: int) -> Tensor:
    """Return the times of GLIDE's upsampler: 27 are its own, any other number is spread evenly."""
    if num_steps != sum(FAST27):
        return even_times(num_steps)
    steps = respaced(FAST27)
    steps[0] -= 2
    return times_of(steps, last=0.0)


def strided_times(num_steps: int) -> Tensor:
    """Return the times of every k-th step, as DDIM takes them; ValueError where no whole k gives so many."""
    stride = next((k for k in range(1, TRAIN_STEPS) if len(range(0, TRAIN_STEPS, k)) == num_steps), None)
    if stride is None:
        raise ValueError(f"no whole k takes {num_steps} steps, each k-th of {TRAIN_STEPS}")
    return times_of(torch.arange(0, TRAIN_STEPS, stride, dtype=torch.float64).flip(0), last=0.0)


def respaced_scheduler(
    betas: str, sampler: str, times: Times = even_times, learns_variance: bool = True
) -> PublishedScheduler:
    """Return how a network of OpenAI's that predicts noise is sampled.

    Args:
        betas: the chain: COSINE, or LINEAR from 1e-4 to 0.02 as that of Ho et al. 2020.
        sampler: DDPM or DDIM.
        times: steps to times.
        learns_variance: whether the network answers a variance too; without it that is beta, the larger bound.
    """
    chain = BetaSchedule.cosine(TRAIN_STEPS) if betas == COSINE else BetaSchedule.linear(TRAIN_STEPS)
    chain = replace(chain, between="logsnr")
    target: Target = LearnedVariance(EpsPrediction()) if learns_variance else EpsPrediction()
    plain: Sampler[Any] = DDIMSampler(chain) if sampler == DDIM else DDPMSampler(chain, var_interp=1.0)
    return PublishedScheduler(chain, target, ThresholdedSampler(plain), times)


def respaced_stages(
    name: str,
    unet: UNet2DConditionModel | UNet2DModel,
    size_px: int,
    betas: str,
    settings: Settings,
    times: Mapping[str, Times],
) -> dict[str, tuple[Stage, PublishedScheduler]]:
    """Return a network as a stage with its scheduler, by each sampler.

    They are made once and share a denoiser, so that the steps of many requests can be taken together. times: of each
    sampler.
    """
    learns_variance = int(unet.config["out_channels"]) == 2 * RGB
    scheduled = {sampler: respaced_scheduler(betas, sampler, times[sampler], learns_variance) for sampler in times}
    target, schedule = scheduled[DDPM].target, scheduled[DDPM].schedule
    denoiser = NetworkDenoiser(unet, target, schedule)
    stage = Stage(name, denoiser, schedule, times[DDPM], (RGB, size_px, size_px), settings)
    return {
        sampler: (replace(stage, times=scheduler.times, sampler=scheduler.sampler), scheduler)
        for sampler, scheduler in scheduled.items()
    }


def check_respaced(stage: str, sampler: str) -> None:
    """Raise SumiError for a sampler that a stage does not have."""
    if sampler not in (DDPM, DDIM):
        raise SumiError(f"the samplers of the {stage} are {DDPM} and {DDIM}, not {sampler!r}")
