"""A super-resolution network: a plain convolutional regressor from a small picture to one `factor` times its size.

    answer = enlarged + pixel_shuffle(network(pixel_unshuffle(enlarged)))

It works at the small size and ends in a pixel shuffle (ESPCN: Shi et al. 2016, arXiv 1609.05158, section 3). Residual
blocks have no normalisation, which would make a surface depend on what else is in the picture (EDSR: Lim et al. 2017,
arXiv 1707.02921, section 3.1). One coarser level gives the context that tells an edge from a blotch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.unet import Downsample, Upsample, zero_init

RESIDUAL_SCALE = 0.2
"""What a block adds is scaled down, or blocks without norms grow without bound (EDSR, section 3.3)."""


class PlainResBlock(nn.Module):
    """Two convolutions around a skip, without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_init(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + RESIDUAL_SCALE * self.conv2(F.silu(self.conv1(x)))  # type: ignore[no-any-return]


class SuperResolutionNetwork(nn.Module):
    """The clean large picture, regressed from the enlarged small one in `cond.concat`.

    It has a denoiser's signature and ignores both the noisy signal and the time, so it is a stage like any other: one
    step of any sampler with a target of x0 returns its answer.

    Args:
        in_channels: Channels of the picture.
        channels: Width of the blocks at the small size, and at half of it.
        blocks: Residual blocks before and again after the coarse ones, and in the middle.
        factor: How many times larger the answer is than the picture that was enlarged. H and W of `cond.concat` must
            be divisible by 2 · factor.
    """

    def __init__(
        self,
        in_channels: int = 4,
        channels: tuple[int, int] = (64, 96),
        blocks: tuple[int, int] = (3, 4),
        factor: int = 4,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "channels": list(channels), "blocks": list(blocks), "factor": factor,
        }  # fmt: skip
        self.factor = factor
        (fine, coarse), (outer, middle) = channels, blocks
        self.conv_in = nn.Conv2d(in_channels * factor**2, fine, 3, padding=1)
        self.before = nn.Sequential(*(PlainResBlock(fine) for _ in range(outer)))
        self.middle = nn.Sequential(
            Downsample(fine, coarse), *(PlainResBlock(coarse) for _ in range(middle)), Upsample(coarse, fine)
        )
        self.after = nn.Sequential(*(PlainResBlock(fine) for _ in range(outer)))
        self.conv_out = nn.Conv2d(fine, in_channels * factor**2, 3, padding=1)
        zero_init(self.conv_out)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_channels, H, W) and t (B,) are ignored; `cond.concat` (B, in_channels, H, W) to the same shape."""
        enlarged = cond.concat
        if enlarged is None:
            raise ValueError("a super-resolution network needs the enlarged small picture in cond.concat")
        folded = F.pixel_unshuffle(enlarged, self.factor).contiguous(memory_format=torch.channels_last)
        h = self.before(self.conv_in(folded))
        h = self.after(h + self.middle(h))
        return enlarged + F.pixel_shuffle(self.conv_out(h), self.factor)
