"""CLIP: pictures and captions in one space, where those that belong together lie close (Radford et al. 2021).

    z_i = image(x)/|image(x)|,   z_t = text(caption)/|text(caption)|,   logits = scale · z_t z_i^T + bias

trained by the symmetric cross-entropy of each row and column (softmax), or by asking of every pair on its own
whether it belongs together (sigmoid: Zhai et al. 2023, arXiv 2303.15343).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.transformer import TextTransformer, Transformer
from sumi.nn.unet import Downsample, ResBlock

__all__ = ["CLIP", "ImageTower", "sigmoid_loss", "softmax_loss"]


class ImageTower(nn.Module):
    """A picture (B, in_channels, size_px, size_px) in [-1, 1] as features (B, width).

    A convolutional stem (ResNet blocks, one entry of `channels` and `blocks` per level) makes the tokens of a
    small transformer: on little compute, convolutions find edges sooner than patches do (Xiao et al. 2021).
    """

    def __init__(
        self, in_channels: int, size_px: int, patch: int, channels: Sequence[int], blocks: Sequence[int],
        width: int, depth: int, heads: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch = patch
        stem: list[nn.Module] = [nn.Conv2d(in_channels * patch**2, channels[0], 3, padding=1)]
        for level, count in enumerate(blocks):
            if level:
                stem.append(Downsample(channels[level - 1], channels[level]))
            stem += [ResBlock(channels[level], channels[level]) for _ in range(count)]
        self.stem = nn.Sequential(*stem, nn.Conv2d(channels[-1], width, 1))
        side = size_px // patch // 2 ** (len(channels) - 1)
        self.positions = nn.Parameter(0.01 * torch.randn(side * side, width))
        self.transformer = Transformer(width, depth, heads)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, size_px, size_px) to (B, width)."""
        folded = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        tokens = self.stem(folded).flatten(2).transpose(1, 2) + self.positions
        return self.transformer(tokens).mean(dim=1)  # type: ignore[no-any-return]


class CLIP(nn.Module):
    """Two towers into one space of `size` dimensions.

    image: configuration of the `ImageTower`; text: that of the causal `TextTransformer`, read at the end of text.
    """

    def __init__(self, size: int, image: dict[str, Any], text: dict[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"size": size, "image": image, "text": text}
        self.size, self.size_px = size, int(image["size_px"])
        self.image, self.text = ImageTower(**image), TextTransformer(**text, causal=True)
        self.image_projection = nn.Linear(image["width"], size, bias=False)
        self.text_projection = nn.Linear(text["width"], size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def encode_image(self, x: Tensor) -> Tensor:
        """Pictures (B, C, size_px, size_px) in [-1, 1] as unit vectors z_i (B, size), float32."""
        return F.normalize(self.image_projection(self.image(x)).float(), dim=-1)

    def encode_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, L) as unit vectors z_t (B, size), float32, and the features of every token (B, L, width)."""
        features = self.text(ids)
        end = (ids > 0).sum(dim=1).sub(1).clamp(min=0)
        read = features[torch.arange(len(ids), device=ids.device), end]
        return F.normalize(self.text_projection(read).float(), dim=-1), features

    def logits(self, z_t: Tensor, z_i: Tensor) -> Tensor:
        """scale · z_t z_i^T + bias, (T, I): the log-odds, for the sigmoid loss, that a pair belongs together."""
        return self.log_scale.exp().clamp(max=100.0) * z_t @ z_i.T + self.bias


def softmax_loss(logits: Tensor) -> Tensor:
    """Symmetric cross-entropy of logits (B, B) whose diagonal holds the pairs (CLIP, figure 3)."""
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def sigmoid_loss(logits: Tensor) -> Tensor:
    """Mean over the batch of the summed log-losses of each pair's label, yes on the diagonal (SigLIP, eq. 1)."""
    labels = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(labels * logits).sum() / len(logits)
