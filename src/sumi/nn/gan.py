"""A GAN: a generator of signals from noise, and a discriminator that scores how real a signal looks.

    h <- h + conv(leaky_relu(conv(leaky_relu(h)))),    leaky_relu(h) = max(h, h / 5)

The last convolution of a block is zero at first. There are no norms, so that a score depends on its own image alone and
its gradient can be penalised (R3GAN: Huang et al. 2025, arXiv 2501.05441, sec. 4). Downsampling averages four pixels,
and upsampling is bilinear.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.config_module import ConfigModule
from sumi.nn.unet import to_channels_last, zero_init


def _init_weights(module: nn.Module) -> None:
    """Initialise weights to keep the variance of their input (He et al. 2015), and blocks as the identity."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
    if isinstance(module, GANBlock):
        zero_init(module.conv2)


def leaky_relu(x: Tensor) -> Tensor:
    """max(x, x / 5)."""
    return F.leaky_relu(x, 0.2)


class GANBlock(nn.Module):
    """Two convolutions around a skip, without condition and norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return h + self.conv2(leaky_relu(self.conv1(leaky_relu(h))))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Noise (B, noise_width) to signals (B, out_channels, S, S); channels: those of each level, finest first."""

    def __init__(self, noise_width: int, out_channels: int, size_px: int, channels: Sequence[int]) -> None:
        super().__init__()
        side = size_px // 2 ** (len(channels) - 1)
        self.proj_in = nn.Sequential(nn.Linear(noise_width, channels[-1] * side**2), nn.Unflatten(1, (-1, side, side)))
        levels: list[nn.Module] = []
        for level in reversed(range(len(channels))):
            levels.append(GANBlock(channels[level]))
            if level:
                narrow = nn.Conv2d(channels[level], channels[level - 1], 1, bias=False)
                levels += [narrow, nn.Upsample(scale_factor=2, mode="bilinear")]
        self.levels = nn.Sequential(*levels)
        self.conv_out = nn.Conv2d(channels[0], out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Map z (B, noise_width) to signals (B, out_channels, S, S), unbounded."""
        h = self.proj_in(z).contiguous(memory_format=torch.channels_last)
        return self.conv_out(leaky_relu(self.levels(h)))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Signals (B, in_channels, S, S) to scores (B,); channels: those of each level, finest first."""

    def __init__(self, in_channels: int, size_px: int, channels: Sequence[int]) -> None:
        super().__init__()
        side = size_px // 2 ** (len(channels) - 1)
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        levels: list[nn.Module] = []
        for level, count in enumerate(channels):
            if level:
                levels += [nn.AvgPool2d(2), nn.Conv2d(channels[level - 1], count, 1, bias=False)]
            levels.append(GANBlock(count))
        self.levels = nn.Sequential(*levels)
        self.proj_out = nn.Linear(channels[-1] * side**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in_channels, S, S) to scores (B,), higher for what looks real."""
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        return self.proj_out(leaky_relu(self.levels(h)).flatten(1)).squeeze(1)  # type: ignore[no-any-return]


class GAN(ConfigModule):
    """A generator and a discriminator of signals (B, in_channels, size_px, size_px).

    Args:
        in_channels: channels of a signal.
        size_px: its side; divisible by 2^(levels - 1).
        noise_width: width of z.
        channels: channels of each level of both networks, finest first.

    Raises:
        ValueError: the side cannot be halved so often.
    """

    def __init__(self, in_channels: int, size_px: int, noise_width: int, channels: Sequence[int]) -> None:
        super().__init__()
        if size_px % 2 ** (len(channels) - 1):
            raise ValueError(f"a side of {size_px} px cannot be halved {len(channels) - 1} times")
        self.noise_width, self.size_px = noise_width, size_px
        self.generator = Generator(noise_width, in_channels, size_px, channels)
        self.discriminator = Discriminator(in_channels, size_px, channels)
        self.apply(_init_weights)
        to_channels_last(self)

    def forward(self, z: Tensor) -> Tensor:
        """Generate signals (B, in_channels, size_px, size_px) from z (B, noise_width)."""
        return self.generator(z)  # type: ignore[no-any-return]
