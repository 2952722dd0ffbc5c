"""The parts of a published U-Net, with diffusers' parameter names, and the walk through them.

A level is residual blocks of one resolution, each with attention after it or none. Down, every layer's output is
kept; up, every residual block also gets what was kept last. Stable Diffusion resamples by a convolution, ADM and its
heirs by a residual block (Dhariwal and Nichol 2021, arXiv 2105.05233, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.published.timestep import TimestepEmbedding

Attend = Callable[[int], nn.Module]
"""Channels to an attention layer: (x, context, mask) to x."""
Resample = Literal["", "conv", "resnet"]


class ResnetBlock(nn.Module):
    """Two convolutions around a skip; the time shifts what is between them, or scales and shifts its norm.

    resample: "up" or "down" to double or halve the resolution on the way, or "".
    """

    def __init__(self, channels: int, out_channels: int, time_width: int, groups: int, eps: float, scale_shift: bool,
                 resample: Literal["", "up", "down"] = "") -> None:  # fmt: skip
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.norm1 = nn.GroupNorm(groups, channels, eps=eps)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, 2 * out_channels if scale_shift else out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, C, H, W) and (B, time_width) to (B, C', H', W')."""
        h = F.silu(self.norm1(x))
        if self.resample:
            x, h = self._resampled(x), self._resampled(h)
        h, told = self.conv1(h), self.time_emb_proj(F.silu(time))[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + told)
        h = self.conv2(F.silu(h))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))  # type: ignore[no-any-return]

    def _resampled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.resample == "down" else F.interpolate(x, scale_factor=2.0)


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H/2), ceil(W/2))."""
        return self.conv(x)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Enlarge by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C, H, W) to (B, C, *size), usually twice as large."""
        return self.conv(F.interpolate(x, size=tuple(size)))  # type: ignore[no-any-return]


class Level(nn.Module):
    """The residual blocks of one resolution, their attention and the way to the next resolution."""

    resnets: nn.ModuleList

    def __init__(self, resnets: Sequence[ResnetBlock], attentions: Sequence[nn.Module]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)
        self.attends = bool(attentions)

    def layer(self, index: int, x: Tensor, time: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """One residual block, and the attention after it."""
        x = self.resnets[index](x, time)
        return self.attentions[index](x, context, mask) if self.attends else x


class DownLevel(Level):
    """A level on the way down; `resample` is how the next one is reached, or "" for the last."""

    def __init__(self, channels: int, out_channels: int, layers: int, attend: Attend | None, resample: Resample,
                 resnet: Callable[..., ResnetBlock]) -> None:  # fmt: skip
        widths = [channels] + [out_channels] * (layers - 1)
        super().__init__(
            [resnet(width, out_channels) for width in widths], [attend(out_channels) for _ in widths] if attend else []
        )
        self.resample = resample
        if resample:
            down = resnet(out_channels, out_channels, resample="down") if resample == "resnet" else None
            self.downsamplers = nn.ModuleList([down or Downsample(out_channels)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor | None, mask: Tensor | None) -> list[Tensor]:
        """(B, C, H, W) to the output of every layer, the one for the next level last."""
        outputs = []
        for index in range(len(self.resnets)):
            x = self.layer(index, x, time, context, mask)
            outputs.append(x)
        if self.resample:
            outputs.append(self.downsamplers[0](x, time) if self.resample == "resnet" else self.downsamplers[0](x))
        return outputs


class UpLevel(Level):
    """A level on the way up; `skips` are the channels of what its residual blocks also get."""

    def __init__(self, channels: int, out_channels: int, skips: Sequence[int], attend: Attend | None,
                 resample: Resample, resnet: Callable[..., ResnetBlock]) -> None:  # fmt: skip
        widths = [channels] + [out_channels] * (len(skips) - 1)
        super().__init__(
            [resnet(width + skip, out_channels) for width, skip in zip(widths, skips, strict=True)],
            [attend(out_channels) for _ in widths] if attend else [],
        )
        self.resample = resample
        if resample:
            up = resnet(out_channels, out_channels, resample="up") if resample == "resnet" else None
            self.upsamplers = nn.ModuleList([up or Upsample(out_channels)])

    def forward(
        self, x: Tensor, time: Tensor, context: Tensor | None, mask: Tensor | None, skips: list[Tensor]
    ) -> Tensor:
        """(B, C, H, W) to (B, C', H', W'); takes its share off the end of `skips`."""
        for index in range(len(self.resnets)):
            x = self.layer(index, torch.cat([x, skips.pop()], dim=1), time, context, mask)
        if not self.resample:
            return x
        (up,) = self.upsamplers
        return up(x, time) if self.resample == "resnet" else up(x, skips[-1].shape[2:])  # type: ignore[no-any-return]


class Middle(nn.Module):
    """A residual block, attention or none, and a residual block."""

    def __init__(self, channels: int, attend: Attend | None, resnet: Callable[..., ResnetBlock]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnet(channels, channels) for _ in range(2))
        if attend:
            self.attentions = nn.ModuleList([attend(channels)])
        self.attends = attend is not None

    def forward(self, x: Tensor, time: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.resnets[0](x, time)
        if self.attends:
            x = self.attentions[0](x, context, mask)
        return self.resnets[1](x, time)  # type: ignore[no-any-return]


class UNetTrunk(nn.Module):
    """The U-Net itself, for any kinds of blocks and any condition.

    Args:
        channels, layers, attend, resample: One entry for each level, finest first; `attend` also gets the level.
        middle: The attention of the middle, or None.
        time_channels: Sinusoids of the time, a quarter of its width; default the channels of the finest level.
        resnet: Keyword arguments of every residual block.
    """

    def __init__(self, in_channels: int, out_channels: int, channels: Sequence[int], layers: Sequence[int],
                 down: Sequence[tuple[Attend | None, Resample]], middle: Attend | None,
                 up: Sequence[tuple[Attend | None, Resample]], time_channels: int | None = None,
                 **resnet: Any) -> None:  # fmt: skip
        super().__init__()
        waves = time_channels or channels[0]
        last, self.time_width = len(channels) - 1, 4 * waves

        def block(width: int, out_width: int, **more: Any) -> ResnetBlock:
            return ResnetBlock(width, out_width, self.time_width, **resnet, **more)

        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(waves, self.time_width)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        width, skips = channels[0], [channels[0]]
        for level, (attend, resample) in enumerate(down):
            resample = resample if level < last else ""
            self.down_blocks.append(DownLevel(width, channels[level], layers[level], attend, resample, block))
            width = channels[level]
            skips += [width] * (layers[level] + bool(resample))
        self.mid_block = Middle(width, middle, block)
        for level, (attend, resample) in zip(reversed(range(last + 1)), up, strict=True):
            taken = [skips.pop() for _ in range(layers[level] + 1)]
            self.up_blocks.append(UpLevel(width, channels[level], taken, attend, resample if level else "", block))
            width = channels[level]
        self.conv_norm_out = nn.GroupNorm(resnet["groups"], channels[0], eps=resnet["eps"])
        self.conv_out = nn.Conv2d(channels[0], out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, which the network computes in whatever it is given."""
        return self.conv_in.weight.dtype

    def walk(self, x: Tensor, time: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x (B, in_channels, H, W), time (B, time_width), context (B, M, D), mask (B, M) to (B, out_channels, H, W)."""
        context = None if context is None else context.to(self.dtype)
        x = self.conv_in(x.to(self.dtype).contiguous(memory_format=torch.channels_last))
        skips = [x]
        for level in self.down_blocks:
            skips += level(skips[-1], time, context, mask)
        x = self.mid_block(skips[-1], time, context, mask)
        for level in self.up_blocks:
            x = level(x, time, context, mask, skips)
        return self.conv_out(F.silu(self.conv_norm_out(x)))  # type: ignore[no-any-return]
