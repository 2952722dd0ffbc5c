"""Pixel metrics over premultiplied RGBA in [0, 1].

RMSE(a, b) = sqrt(mean((a - b)^2)),    PSNR(a, b) = -20 log10 RMSE(a, b)
"""

from __future__ import annotations

import math
from itertools import combinations

from torch import Tensor

__all__ = ["mean_pairwise_rmse", "psnr", "rmse"]


def rmse(a: Tensor, b: Tensor) -> list[float]:
    """Return the root mean squared error of each pair of pictures, 0 to 1.

    Args:
        a: levels from 0 to 255, (B, C, H, W).
        b: the same.
    """
    return ((a.float() - b.float()) / 255).square().mean(dim=(1, 2, 3)).sqrt().tolist()


def psnr(a: Tensor, b: Tensor) -> list[float]:
    """Return the peak signal-to-noise ratio of each pair of pictures in decibels.

    Equal pictures would have an infinite ratio. They count as if one channel of one pixel differed by one level.

    Args:
        a: levels from 0 to 255, (B, C, H, W).
        b: the same.
    """
    least = 1 / 255 / math.sqrt(a[0].numel())
    return [-20 * math.log10(max(error, least)) for error in rmse(a, b)]


def mean_pairwise_rmse(pictures: Tensor) -> float:
    """Return the mean RMSE over all pairs of some pictures (B, 4, S, S), B > 1."""
    pairs = list(combinations(range(len(pictures)), 2))
    one, other = (pictures[[pair[side] for pair in pairs]] for side in (0, 1))
    return math.fsum(rmse(one, other)) / len(pairs)
