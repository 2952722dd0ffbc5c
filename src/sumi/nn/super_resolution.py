"""A super-resolution network: a convolutional regressor from a small image to one `factor` times its size.

    answer = enlarged + pixel_shuffle(network(pixel_unshuffle(enlarged)))

It works at the small size and ends in a pixel shuffle (ESPCN: Shi et al. 2016, arXiv 1609.05158, section 3). Residual
blocks have no normalisation, which would make a surface depend on the rest of the image (EDSR: Lim et al. 2017,
arXiv 1707.02921, section 3.1). One coarser level gives the context that tells an edge from a blotch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.unet import Downsample, Upsample, to_channels_last, zero_init

RESIDUAL_SCALE = 0.2
"""Factor of a block's residual, without which blocks without norms diverge (EDSR, sec. 3.3)."""


class PlainResBlock(nn.Module):
    """Two convolutions around a skip, without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_init(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        return x + RESIDUAL_SCALE * self.conv2(F.silu(self.conv1(x)))  # type: ignore[no-any-return]


class SuperResolutionNetwork(ConfigModule):
    """Regress the clean large image from the enlarged small one in `cond.concat`.

    It has the signature of a denoising network and ignores the noisy signal and the time. So it is a stage like any
    other: one step of any sampler with `X0Prediction` returns its answer.

    Args:
        in_channels: channels of the image.
        channels: channels of the blocks at the small size, and at half of it.
        blocks: residual blocks before and after the coarse ones, and number of coarse ones.
        factor: how many times larger the answer is than the small image. H and W of `cond.concat` must be divisible by
            2 · factor.
    """

    def __init__(
        self,
        in_channels: int = 4,
        channels: tuple[int, int] = (64, 96),
        blocks: tuple[int, int] = (3, 4),
        factor: int = 4,
    ) -> None:
        super().__init__()
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
        to_channels_last(self)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map `cond.concat` (B, in_channels, H, W) to the answer, of the same shape; x and t are ignored."""
        enlarged = cond.concat
        if enlarged is None:
            raise ValueError("a super-resolution network needs the enlarged small picture in cond.concat")
        folded = F.pixel_unshuffle(enlarged, self.factor).contiguous(memory_format=torch.channels_last)
        h = self.before(self.conv_in(folded))
        h = self.after(h + self.middle(h))
        return enlarged + F.pixel_shuffle(self.conv_out(h), self.factor)
