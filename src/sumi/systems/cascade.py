"""A cascade: a small picture under the words, then a larger one under the small one. GLIDE and Imagen are cascades.

    p(x | words) = p(x | low, words) p(low | words)

Ho et al. 2021, Cascaded Diffusion Models, arXiv 2106.15282, section 2. Here the second step doubles the side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.stage import seeded_generators
from sumi.systems import Examples, Wish
from sumi.systems.design import signals
from sumi.systems.objectives import to_picture

__all__ = ["captioned", "larger", "smaller", "streams", "thumbnails", "wished"]


def smaller(x: Tensor) -> Tensor:
    """Half the side, each pixel the mean of four."""
    return F.avg_pool2d(x, 2)


def larger(low: Tensor) -> Tensor:
    """Twice the side, bilinear."""
    return F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)


def thumbnails(examples: Examples, batch: int = 256) -> Tensor:
    """The pictures of the examples at half their side, uint8 (N, 4, S/2, S/2)."""
    batches = torch.split(torch.arange(len(examples.pictures)), batch)
    return torch.cat([to_picture(smaller(signals(examples.pictures, some))) for some in batches])


def captioned(name: str, examples: Examples) -> list[str]:
    """The captions of the examples; SumiError when there is not one a picture, or halves do not fit."""
    size_px = int(examples.pictures.shape[-1])
    if size_px < 4 or size_px % 4:
        raise SumiError(f"{name} learns from squares whose side is a multiple of 4 px, not {size_px}")
    if len(examples.captions) != len(examples.pictures):
        counts = f"{len(examples.pictures)} pictures and {len(examples.captions)} captions"
        raise SumiError(f"{name} learns from pictures with a caption each: these are {counts}")
    return list(examples.captions)


def wished(name: str, wish: Wish) -> list[str]:
    """One caption a seed, all empty if none was given; SumiError for a wish that cannot be drawn."""
    if wish.size_px < 4 or wish.size_px % 4:
        raise SumiError(f"{name} draws squares whose side is a multiple of 4 px, not {wish.size_px}")
    captions = list(wish.captions) or [""] * len(wish.seeds)
    if len(captions) != len(wish.seeds):
        raise SumiError(f"{name} needs one caption a seed: {len(wish.seeds)}, not {len(captions)}")
    return captions


def streams(seeds: Sequence[int], stage: str) -> list[int]:
    """Seeds of a later stage: other numbers than those that the seeds themselves draw."""
    return [rng.initial_seed() for rng in seeded_generators(seeds, stage)]
