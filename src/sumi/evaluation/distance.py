"""How far pictures are from each other, pixel by pixel.

apart(a, b) = sqrt(mean((a - b)^2)),    PSNR = -20 log10 apart,    over premultiplied RGBA in [0, 1]
"""

from __future__ import annotations

import math
from itertools import combinations

from torch import Tensor


def pixel_distance(a: Tensor, b: Tensor) -> list[float]:
    """Return how far pictures uint8 (B, 4, S, S) are from each other, one by one: 0 to 1."""
    return ((a.float() - b.float()) / 255).square().mean(dim=(1, 2, 3)).sqrt().tolist()


def psnr(a: Tensor, b: Tensor) -> list[float]:
    """Return the same in decibels; equal pictures are as near as if one channel of one pixel were one level off."""
    least = 1 / 255 / math.sqrt(a[0].numel())
    return [-20 * math.log10(max(distance, least)) for distance in pixel_distance(a, b)]


def mean_distance(pictures: Tensor) -> float:
    """Return the mean distance of every two of some pictures (B, 4, S, S), B > 1."""
    pairs = list(combinations(range(len(pictures)), 2))
    one, other = (pictures[[pair[side] for pair in pairs]] for side in (0, 1))
    return math.fsum(pixel_distance(one, other)) / len(pairs)
