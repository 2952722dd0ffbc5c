"""The encoder and decoder of a convolutional codec: an image to a grid of vectors, and back.

The encoder ends and the decoder starts with a 1 x 1 convolution, so each position of the grid depends on its own vector
alone there. The relaxation of DALL-E's dVAE needs that (Ramesh et al. 2021, arXiv 2102.12092, sec. 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sumi.nn.unet import Downsample, ResBlock, Upsample, norm

__all__ = ["build_decoder", "build_encoder"]


def build_encoder(
    in_channels: int, channels: Sequence[int], blocks: Sequence[int], patch: int, out: int
) -> nn.Sequential:
    """Build a network from (B, in_channels, H, W) to (B, out, H/f, W/f), f = patch · 2^(levels - 1).

    channels, blocks: channels and residual blocks of each level, finest first.
    """
    layers: list[nn.Module] = [nn.PixelUnshuffle(patch), nn.Conv2d(in_channels * patch**2, channels[0], 3, padding=1)]
    for level, count in enumerate(blocks):
        if level:
            layers.append(Downsample(channels[level - 1], channels[level]))
        layers += [ResBlock(channels[level], channels[level]) for _ in range(count)]
    return nn.Sequential(*layers, norm(channels[-1]), nn.SiLU(), nn.Conv2d(channels[-1], out, 1))


def build_decoder(width: int, channels: Sequence[int], blocks: Sequence[int], patch: int, out: int) -> nn.Sequential:
    """Build a network from (B, width, h, w) to (B, out, h·f, w·f), the mirror image of `build_encoder`."""
    layers: list[nn.Module] = [nn.Conv2d(width, channels[-1], 1)]
    for level in reversed(range(len(channels))):
        layers += [ResBlock(channels[level], channels[level]) for _ in range(blocks[level])]
        if level:
            layers.append(Upsample(channels[level], channels[level - 1]))
    last_layer = nn.Conv2d(channels[0], out * patch**2, 3, padding=1)
    return nn.Sequential(*layers, norm(channels[0]), nn.SiLU(), last_layer, nn.PixelShuffle(patch))
