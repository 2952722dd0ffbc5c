"""Inversion: a picture as its CLIP embedding and a noise, so that either can be changed alone.

    picture -> (z_i, x_1):    z_i = CLIP(picture),    x_1 = the noise from which the decoder, shown z_i, draws it

unCLIP's bipartite latent (Ramesh et al. 2022, arXiv 2204.06125, section 3). z_i holds what the picture shows; x_1,
found by running the decoder's equation from data to noise (`sumi.diffusion.invert`), holds everything else. Where the
decoder draws in the latents of a codec there is a third part, what the codec loses. It is added back wherever the drawn
picture is still the inverted one:

    drawn + w (picture - again),    again = decode(encode(picture)),    w = exp(-(|drawn - again| / NEAR)^2)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion import DDIMInversion, EpsPrediction, LearnedVariance, NetworkDenoiser
from sumi.imaging.pixels import from_levels
from sumi.nn import Cond
from sumi.pipelines.source import Source
from sumi.pipelines.stage import Stage, run
from sumi.pipelines.steps import Work
from sumi.pipelines.unclip import UnCLIPPipeline

__all__ = ["detailed", "inverted", "inverted_noise", "latents", "model_levels", "slerp"]

INVERSION = "inversion"
NEAR = 0.15
"""Differences below about this, in [-1, 1], are the same picture."""


def model_levels(pipeline: UnCLIPPipeline, sources: Sequence[Source]) -> Tensor:
    """Return the pictures as the model sees them: premultiplied uint8 (B, 4, size_px, size_px)."""
    return torch.stack([source.levels(pipeline.size_px) for source in sources])


def latents(pipeline: UnCLIPPipeline, levels: Tensor) -> Tensor:
    """Return pictures (B, 4, size_px, size_px) in the space that the decoder draws in."""
    return pipeline.decoder.encode(from_levels(levels))


def inverted(pipeline: UnCLIPPipeline, levels: Tensor, cond: Cond) -> Work[Tensor]:
    """Find the x_1 (B, ...) from which the decoder, under cond and unguided, draws these pictures."""
    return inverted_noise(pipeline.decoder, latents(pipeline, levels), cond)


def inverted_noise(stage: Stage, x: Tensor, cond: Cond) -> Work[Tensor]:
    """Find the x_1 (B, ...) from which a stage, under cond and unguided, draws x (B, ...)."""
    target = stage.denoiser.target if isinstance(stage.denoiser, NetworkDenoiser) else None
    target = target.target if isinstance(target, LearnedVariance) else target
    up = replace(
        stage,
        name=INVERSION,
        settings=replace(stage.settings, guidance=1.0),
        times=lambda count: stage.times(count).flip(0),
        sampler=DDIMInversion(stage.schedule, by_noise=isinstance(target, EpsPrediction)),
    )
    return run(up, cond, [], x=x)


def detailed(pipeline: UnCLIPPipeline, levels: Tensor) -> UnCLIPPipeline:
    """Return the pipeline that adds back what the codec loses of these pictures (P, ...) where it draws them again."""
    decoder, x = pipeline.decoder, from_levels(levels)
    again = decoder.decode(decoder.encode(x))
    lost = x - again

    def decode(z: Tensor) -> Tensor:
        drawn = decoder.decode(z)
        apart = (drawn[:, None] - again).abs().amax(dim=2)  # (B, P, S, S)
        near = torch.exp(-((F.avg_pool2d(apart, 3, 1, 1) / NEAR) ** 2))
        share = (near / near.sum(dim=1, keepdim=True).clamp_min(1))[:, :, None]
        return (drawn + (share * lost).sum(dim=1)).clamp(-1, 1)

    return replace(pipeline, decoder=replace(decoder, decode=decode))


def slerp(a: Tensor, b: Tensor, amount: Tensor | float) -> Tensor:
    """Return the point so far along the arc from a to b, (B, ...), with amount in [0, 1] or (B,) of them.

        (sin((1 - amount) w) a + sin(amount w) b) / sin w,    cos w = <a, b> / (|a| |b|)

    Shoemake 1985, section 3.3. Where a and b point the same way, or opposite ways, it is the straight line.
    """
    one, other = a.flatten(1), b.flatten(1)
    share = torch.as_tensor(amount, dtype=a.dtype).expand(len(one))[:, None]
    angle = torch.arccos(torch.cosine_similarity(one, other, dim=1).clamp(-1, 1))[:, None]
    curved = torch.sin(angle) > 1e-3
    sine = torch.where(curved, torch.sin(angle), 1.0)
    first = torch.where(curved, torch.sin((1 - share) * angle) / sine, 1 - share)
    second = torch.where(curved, torch.sin(share * angle) / sine, share)
    return (first * one + second * other).view_as(a)
