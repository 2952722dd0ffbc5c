"""The U-Net of diffusion models: convolutions at several resolutions, told the time and the condition.

Residual blocks take the time as a scale and a shift of their second norm (ADM: Dhariwal & Nichol 2021, section
3); attention sees the picture and the condition's tokens in one softmax (GLIDE: Nichol et al. 2021).
The same class is the decoder over latents or pixels and, with the low-resolution picture in `concat`, the
upsampler between any two sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import Attention
from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding


def norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with about 16 channels a group."""
    return nn.GroupNorm(max(1, channels // 16), channels)


def zero_init(layer: nn.Conv2d | nn.Linear) -> None:
    """Make a layer answer zero at first, so that a residual branch begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ResBlock(nn.Module):
    """Two convolutions around a skip; `embedding_width` 0 makes a block that is told nothing."""

    def __init__(self, channels: int, out_channels: int, embedding_width: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(out_channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(embedding_width, 2 * out_channels) if embedding_width else None
        self.skip = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        zero_init(self.conv2)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulate is not None and embedding is not None:
            scale, shift = self.modulate(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Attention among the positions of a picture and to the context's tokens."""

    def __init__(self, channels: int, head_width: int, context_width: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.attention = Attention(channels, max(1, channels // head_width), context_width)
        zero_init(self.attention.out)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """(B, C, H, W) and (B, M, context_width) to (B, C, H, W)."""
        positions = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(positions, context).transpose(1, 2).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class UNetBlock(nn.Module):
    """A residual block, and attention where the level asks for it."""

    def __init__(self, channels: int, out_channels: int, embedding_width: int, attention: SpatialAttention | None,
                 dropout: float) -> None:  # fmt: skip
        super().__init__()
        self.residual = ResBlock(channels, out_channels, embedding_width, dropout)
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        x = self.residual(x, embedding)
        return x if self.attention is None else self.attention(x, context)


class Downsample(nn.Sequential):
    """Halve the resolution by a strided convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(nn.Conv2d(channels, out_channels, 3, stride=2, padding=1))


class Upsample(nn.Sequential):
    """Double the resolution by repetition and a convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), nn.Conv2d(channels, out_channels, 3, padding=1))


class UNet(nn.Module):
    """A U-Net over signals (B, in_channels, H, W).

    channels, blocks, attention: one entry per level, finest first. patch: side of the pixel squares folded into
    channels at the mouth. concat_channels: channels of `cond.concat`, which has the signal's own height and width.
    vector_width: length of `cond.vector`, added to the time embedding. context_width: width of `cond.tokens`.
    middle: blocks at the bottom. skip_scale: what the skips are multiplied by on their way up.
    H and W must be divisible by patch · 2^(levels - 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        attention: Sequence[bool],
        patch: int = 1,
        concat_channels: int = 0,
        vector_width: int = 0,
        context_width: int = 0,
        head_width: int = 64,
        embedding_width: int | None = None,
        middle: int = 2,
        dropout: float = 0.0,
        skip_scale: float = 1.0,
    ) -> None:
        super().__init__()
        width = embedding_width or 4 * channels[0]
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "out_channels": out_channels, "channels": list(channels),
            "blocks": list(blocks), "attention": list(attention), "patch": patch,
            "concat_channels": concat_channels, "vector_width": vector_width, "context_width": context_width,
            "head_width": head_width, "embedding_width": width, "middle": middle, "dropout": dropout,
            "skip_scale": skip_scale,
        }  # fmt: skip
        self.patch, self.skip_scale = patch, skip_scale

        def block(before: int, level: int) -> UNetBlock:
            after = channels[level]
            looks = SpatialAttention(after, head_width, context_width) if attention[level] else None
            return UNetBlock(before, after, width, looks, dropout)

        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.mouth = nn.Conv2d((in_channels + concat_channels) * patch**2, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips = [channels[0]]
        for level, count in enumerate(blocks):
            if level:
                self.down.append(Downsample(channels[level - 1], channels[level]))
                skips.append(channels[level])
            for _ in range(count):
                self.down.append(block(channels[level], level))
                skips.append(channels[level])
        last = len(channels) - 1
        self.middle = nn.ModuleList(block(channels[last], last) for _ in range(middle))
        for level in reversed(range(len(channels))):
            for number in range(blocks[level] + 1):
                before = channels[min(level + 1, last)] if number == 0 and level < last else channels[level]
                self.up.append(block(before + skips.pop(), level))
            if level:
                self.up.append(Upsample(channels[level], channels[level]))
        last_layer = nn.Conv2d(channels[0], out_channels * patch**2, 3, padding=1)
        zero_init(last_layer)
        self.head = nn.Sequential(norm(channels[0]), nn.SiLU(), last_layer)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_channels, H, W), t (B,) in [0, 1], to (B, out_channels, H, W)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        h = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        h = self.mouth(h.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for layer in self.down:
            h = layer(h, embedding, cond.tokens) if isinstance(layer, UNetBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding, cond.tokens)
        for layer in self.up:
            if isinstance(layer, UNetBlock):
                skip = skips.pop() if self.skip_scale == 1 else skips.pop() * self.skip_scale
                h = layer(torch.cat([h, skip], dim=1), embedding, cond.tokens)
            else:
                h = layer(h)
        h = self.head(h)
        return F.pixel_shuffle(h, self.patch) if self.patch > 1 else h
