"""The U-Net of diffusion models: convolutions at several resolutions, conditioned on the time and on a `Cond`.

The time sets the scale and the shift of the second norm of a residual block (ADM: Dhariwal and Nichol 2021, arXiv
2105.05233, sec. 3). Attention covers the image and the condition's tokens in one softmax (GLIDE: Nichol et al. 2021,
arXiv 2112.10741). The same class serves as decoder over latents or pixels and, with the enlarged small image in
`cond.concat`, as upsampler between any two sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import Attention
from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding

__all__ = [
    "Downsample",
    "ResBlock",
    "SpatialAttention",
    "UNet",
    "UNetBlock",
    "Upsample",
    "norm",
    "to_channels_last",
    "zero_init",
]


def norm(channels: int) -> nn.GroupNorm:
    """Make a group normalisation with about 16 channels per group."""
    return nn.GroupNorm(max(1, channels // 16), channels)


def zero_init(layer: nn.Conv2d | nn.Linear) -> None:
    """Set a layer's weights to zero, so that a residual branch starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def to_channels_last(module: nn.Module) -> None:
    """Store the weights of a module's convolutions channels last, which convolves faster on CPUs."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class ResBlock(nn.Module):
    """Two convolutions around a skip; `embedding_width` 0 makes an unconditional block."""

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
        """Map x (B, C, H, W), given the embedding (B, embedding_width), to (B, C', H, W)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulate is not None and embedding is not None:
            scale, shift = self.modulate(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))  # type: ignore[no-any-return]


class SpatialAttention(nn.Module):
    """Attention among the positions of an image and to the context's tokens."""

    def __init__(self, channels: int, head_width: int, context_width: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.attention = Attention(channels, max(1, channels // head_width), context_width)
        zero_init(self.attention.out)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map x (B, C, H, W), given the context (B, M, context_width), to the same shape."""
        positions = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(positions, context).transpose(1, 2).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class UNetBlock(nn.Module):
    """A residual block, followed by attention where the level has it."""

    def __init__(
        self, channels: int, out_channels: int, embedding_width: int, attention: SpatialAttention | None, dropout: float
    ) -> None:
        super().__init__()
        self.residual = ResBlock(channels, out_channels, embedding_width, dropout)
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """Map x (B, C, H, W), given the embedding and the context, to (B, C', H, W)."""
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


class UNet(ConfigModule):
    """A U-Net over signals (B, in_channels, H, W), with H and W divisible by patch · 2^(levels - 1).

    Args:
        in_channels: channels of the signal.
        out_channels: channels of the answer.
        channels: channels of each level, finest first.
        blocks: residual blocks of each level on the way down; the way up has one more.
        attention: whether each level has attention.
        patch: side of the squares of positions that the first convolution folds into channels.
        concat_channels: channels of `cond.concat`, which has the signal's height and width; 0 for none.
        vector_width: width of `cond.vector`, which is added to the time embedding; 0 for none.
        context_width: width of `cond.tokens`, which the attention attends to; 0 for none.
        head_width: channels per attention head.
        embedding_width: width of the time embedding; by default four times the channels of the finest level.
        middle: blocks at the coarsest level between the two ways.
        dropout: probability in [0, 1) inside the residual blocks.
        skip_scale: factor of the skips on the way up.
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
        self.config["embedding_width"] = width
        self.patch, self.skip_scale = patch, skip_scale

        def block(before: int, level: int) -> UNetBlock:
            after = channels[level]
            attends = SpatialAttention(after, head_width, context_width) if attention[level] else None
            return UNetBlock(before, after, width, attends, dropout)

        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.conv_in = nn.Conv2d((in_channels + concat_channels) * patch**2, channels[0], 3, padding=1)
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
        self.conv_out = nn.Sequential(norm(channels[0]), nn.SiLU(), last_layer)
        to_channels_last(self)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, in_channels, H, W) at t (B,) in [0, 1] to the answer (B, out_channels, H, W)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        h = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        h = self.conv_in(h.contiguous(memory_format=torch.channels_last))
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
        h = self.conv_out(h)
        return F.pixel_shuffle(h, self.patch) if self.patch > 1 else h
