"""Two networks that play: one makes signals of noise, the other scores how true a signal looks.

    h <- h + conv(leak(conv(leak(h)))),    leak(h) = max(h, h / 5)

The last convolution of a block is zero at first. There is no norm: a score must hang on its own picture alone, and its
slope must mean something (R3GAN: Huang et al. 2025, arXiv 2501.05441, section 4). Sizes change by the mean of four
pixels, and by bilinear interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.unet import zero_init


def _even(module: nn.Module) -> None:
    """Begin with weights that neither swell nor shrink what passes (He et al. 2015), and blocks that do nothing."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
    if isinstance(module, GANBlock):
        zero_init(module.conv2)


def leaky_relu(x: Tensor) -> Tensor:
    """max(x, x / 5)."""
    return F.leaky_relu(x, 0.2)


class GANBlock(nn.Module):
    """Two convolutions around a skip, told nothing, without norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return h + self.conv2(leaky_relu(self.conv1(leaky_relu(h))))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Noise (B, noise_width) to signals (B, out_channels, S, S); channels: one entry per level, finest first."""

    def __init__(self, noise_width: int, out_channels: int, size_px: int, channels: Sequence[int]) -> None:
        super().__init__()
        side = size_px // 2 ** (len(channels) - 1)
        self.mouth = nn.Sequential(nn.Linear(noise_width, channels[-1] * side**2), nn.Unflatten(1, (-1, side, side)))
        levels: list[nn.Module] = []
        for level in reversed(range(len(channels))):
            levels.append(GANBlock(channels[level]))
            if level:
                narrow = nn.Conv2d(channels[level], channels[level - 1], 1, bias=False)
                levels += [narrow, nn.Upsample(scale_factor=2, mode="bilinear")]
        self.levels = nn.Sequential(*levels)
        self.head = nn.Conv2d(channels[0], out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, noise_width) to (B, out_channels, S, S), unbounded."""
        h = self.mouth(z).contiguous(memory_format=torch.channels_last)
        return self.head(leaky_relu(self.levels(h)))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Signals (B, in_channels, S, S) to scores (B,); channels: one entry per level, finest first."""

    def __init__(self, in_channels: int, size_px: int, channels: Sequence[int]) -> None:
        super().__init__()
        side = size_px // 2 ** (len(channels) - 1)
        self.mouth = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        levels: list[nn.Module] = []
        for level, count in enumerate(channels):
            if level:
                levels += [nn.AvgPool2d(2), nn.Conv2d(channels[level - 1], count, 1, bias=False)]
            levels.append(GANBlock(count))
        self.levels = nn.Sequential(*levels)
        self.head = nn.Linear(channels[-1] * side**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, S, S) to (B,)."""
        h = self.mouth(x.contiguous(memory_format=torch.channels_last))
        return self.head(leaky_relu(self.levels(h)).flatten(1)).squeeze(1)  # type: ignore[no-any-return]


class GAN(nn.Module):
    """A generator and the discriminator that it was taught by, over signals (B, in_channels, size_px, size_px).

    noise_width: of z. channels: of both, one entry per level, finest first; size_px is divisible by 2^(levels - 1).
    """

    def __init__(self, in_channels: int, size_px: int, noise_width: int, channels: Sequence[int]) -> None:
        super().__init__()
        if size_px % 2 ** (len(channels) - 1):
            raise ValueError(f"a side of {size_px} px cannot be halved {len(channels) - 1} times")
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "size_px": size_px, "noise_width": noise_width, "channels": list(channels),
        }  # fmt: skip
        self.noise_width, self.size_px = noise_width, size_px
        self.generator = Generator(noise_width, in_channels, size_px, channels)
        self.discriminator = Discriminator(in_channels, size_px, channels)
        self.apply(_even)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        """Noise (B, noise_width) to signals (B, in_channels, size_px, size_px)."""
        return self.generator(z)  # type: ignore[no-any-return]
