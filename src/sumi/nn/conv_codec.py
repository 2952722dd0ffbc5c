"""The two halves of a convolutional codec: a picture to a grid of vectors, and back.

A 1 x 1 convolution ends the one and begins the other, so that each place of the grid is told by itself: DALL-E's
dVAE needs that for its relaxation to agree with its tokens (Ramesh et al. 2021, section 2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sumi.nn.unet import Downsample, ResBlock, Upsample, norm


def encoder(in_channels: int, channels: Sequence[int], blocks: Sequence[int], patch: int, out: int) -> nn.Sequential:
    """(B, in_channels, H, W) to (B, out, H/f, W/f), f = patch · 2^(levels - 1); one entry a level, finest first."""
    layers: list[nn.Module] = [nn.PixelUnshuffle(patch), nn.Conv2d(in_channels * patch**2, channels[0], 3, padding=1)]
    for level, count in enumerate(blocks):
        if level:
            layers.append(Downsample(channels[level - 1], channels[level]))
        layers += [ResBlock(channels[level], channels[level]) for _ in range(count)]
    return nn.Sequential(*layers, norm(channels[-1]), nn.SiLU(), nn.Conv2d(channels[-1], out, 1))


def decoder(width: int, channels: Sequence[int], blocks: Sequence[int], patch: int, out: int) -> nn.Sequential:
    """(B, width, h, w) to (B, out, h·f, w·f): the mirror image of `encoder`."""
    layers: list[nn.Module] = [nn.Conv2d(width, channels[-1], 1)]
    for level in reversed(range(len(channels))):
        layers += [ResBlock(channels[level], channels[level]) for _ in range(blocks[level])]
        if level:
            layers.append(Upsample(channels[level], channels[level - 1]))
    last_layer = nn.Conv2d(channels[0], out * patch**2, 3, padding=1)
    return nn.Sequential(*layers, norm(channels[0]), nn.SiLU(), last_layer, nn.PixelShuffle(patch))
