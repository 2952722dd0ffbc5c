"""Classifier-free guidance: walk from what is likely anyway towards, and past, what the condition says.

    mean = mean(null) + scale (mean(cond) - mean(null))

Ho and Salimans 2022, arXiv 2207.12598, eq. 6 (scale = 1 + w). At a fixed x_t the targets are affine images
of the mean, so guiding the mean is guiding eps, v or the score. It wraps a denoiser; samplers never know.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser, Estimate
from sumi.diffusion.schedule import per_sample

C = TypeVar("C")


def guide(
    denoise: Denoiser[C], null: C, scale: float | Tensor, interval: tuple[float, float] = (0.0, 1.0)
) -> Denoiser[C]:
    """The same denoiser, guided away from `null` where low <= t <= high.

    `scale` is one number or one per sample, shape (B,); 1 is unguided. Where no sample is guided the second
    evaluation is skipped; guiding only a middle interval is better as well as cheaper (Kynkaanniemi et al.
    2024, arXiv 2404.07724). A learned variance is the condition's own, as in GLIDE (arXiv 2112.10741).
    """
    low, high = interval
    if not low < high:
        raise ValueError(f"the guidance interval must rise, not run from {low} to {high}")

    def guided(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        strength = torch.where((t >= low) & (t <= high), torch.as_tensor(scale, device=t.device), 1.0)
        estimate = denoise(x_t, t, cond)
        if bool((strength == 1).all()):
            return estimate
        # Written from mean(cond), so that an unguided sample of a mixed batch is left exactly as it was.
        excess = per_sample(strength - 1, x_t).to(x_t.dtype)
        away = estimate.mean - denoise(x_t, t, null).mean
        return Estimate(estimate.mean + excess * away, estimate.logvar)

    return guided
