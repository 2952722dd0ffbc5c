"""Cascades: a small picture from the words, then a larger one from the small one. GLIDE and Imagen are cascades.

    p(x | words) = p(x | low, words) p(low | words)

Ho et al. 2021, Cascaded Diffusion Models, arXiv 2106.15282, section 2. Here the second step doubles the side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines import Stage
from sumi.systems import Examples
from sumi.systems.diffusion_spec import signals
from sumi.systems.objectives import CHANNELS, to_picture
from sumi.systems.pipeline import SampleRequest, captions_of, with_num_steps

__all__ = ["captioned", "drawable_captions", "larger", "sized", "smaller", "thumbnails"]


def smaller(x: Tensor) -> Tensor:
    """Return pictures of half the side, each pixel the mean of four."""
    return F.avg_pool2d(x, 2)


def larger(low: Tensor) -> Tensor:
    """Return pictures of twice the side, bilinear."""
    return F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)


def thumbnails(examples: Examples, batch: int = 256) -> Tensor:
    """Return the pictures of the examples at half their side, uint8 (N, 4, S/2, S/2)."""
    batches = torch.split(torch.arange(len(examples.pictures)), batch)
    return torch.cat([to_picture(smaller(signals(examples.pictures, some))) for some in batches])


def captioned(name: str, examples: Examples) -> list[str]:
    """Return the captions of the examples; SumiError without one for each picture, or for an odd size."""
    size_px = int(examples.pictures.shape[-1])
    if size_px < 4 or size_px % 4:
        raise SumiError(f"{name} learns from squares whose side is a multiple of 4 px, not {size_px}")
    if len(examples.captions) != len(examples.pictures):
        counts = f"{len(examples.pictures)} pictures and {len(examples.captions)} captions"
        raise SumiError(f"{name} learns from pictures with a caption each: these are {counts}")
    return list(examples.captions)


def drawable_captions(name: str, request: SampleRequest) -> list[str]:
    """Return one caption for each seed, all empty if none is given; SumiError for what cannot be drawn."""
    if request.size_px < 4 or request.size_px % 4:
        raise SumiError(f"{name} draws squares whose side is a multiple of 4 px, not {request.size_px}")
    return captions_of(name, request)


def sized(stage: Stage, size_px: int, num_steps: int | None) -> Stage:
    """Return a stage that draws RGBA pictures of this size in so many steps, by default its own."""
    return with_num_steps(replace(stage, shape=(CHANNELS, size_px, size_px)), num_steps)
