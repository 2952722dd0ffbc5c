"""CLIP: pictures and captions in one embedding space, where matching pairs are close (Radford et al. 2021).

    z_i = image(x)/|image(x)|,   z_t = text(caption)/|text(caption)|,   logits = scale · z_t z_i^T + bias

The loss is the symmetric cross-entropy over rows and columns (softmax), or a binary classification of every pair
(sigmoid: Zhai et al. 2023, arXiv 2303.15343).
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

__all__ = ["CLIP", "ImageTower", "ResNetTower", "sigmoid_loss", "softmax_loss"]


class ImageTower(nn.Module):
    """An image encoder: a convolutional stem and a small transformer.

    With little compute, convolutions learn edges sooner than patches do (Xiao et al. 2021).

    Args:
        in_channels: of the picture.
        size_px: its side.
        patch: the side of the squares that are folded into channels.
        channels: of the ResNet blocks at each level.
        blocks: how many at each level.
        width: of the transformer, and of the features.
        depth: of the transformer.
        heads: of its attention.
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
        """Return the features (B, width) of pictures (B, in_channels, size_px, size_px) in [-1, 1]."""
        folded = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        tokens = self.stem(folded).flatten(2).transpose(1, 2) + self.positions
        return self.transformer(tokens).mean(dim=1)  # type: ignore[no-any-return]


class ResNetTower(nn.Module):
    """An image encoder of convolutions with batch norms, as CLIP's ResNets are (Radford et al. 2021, section 2.4).

        features = W [max h, mean h],   h: the last feature maps, pooled over all positions

    Batch norms and a maximum learn what is in a picture from far fewer pictures than attention does.

    Args:
        in_channels: of the picture.
        size_px: its side.
        patch: the side of the squares that are folded into channels.
        channels: of the residual layers at each level; each level halves the side.
        blocks: how many at each level.
        width: of the features.
    """

    def __init__(
        self, in_channels: int, size_px: int, patch: int, channels: Sequence[int], blocks: Sequence[int], width: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(patch), ConvNorm(in_channels * patch**2, channels[0])]
        for level, count in enumerate(blocks):
            if level:
                layers.append(ConvNorm(channels[level - 1], channels[level], stride=2))
            layers += [ResidualConvNorm(channels[level], channels[level]) for _ in range(count)]
        self.layers, self.pool = nn.Sequential(*layers), nn.Linear(2 * channels[-1], width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, width) of pictures (B, in_channels, size_px, size_px) in [-1, 1]."""
        h = self.layers(x.contiguous(memory_format=torch.channels_last))
        return self.pool(torch.cat([h.amax(dim=(2, 3)), h.mean(dim=(2, 3))], dim=1))  # type: ignore[no-any-return]


class ConvNorm(nn.Sequential):
    """A convolution, a batch norm and a ReLU."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        conv = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class ResidualConvNorm(ConvNorm):
    """The same around a skip."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to the same shape."""
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class CLIP(nn.Module):
    """An image tower and a text tower with a common embedding space.

    Args:
        size: the dimension D of the space.
        image: configuration of the image tower: of a `ResNetTower` where it has no "depth", else of an `ImageTower`.
        text: configuration of the causal `TextTransformer`, whose feature at the end of text is projected.
    """

    def __init__(self, size: int, image: dict[str, Any], text: dict[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"size": size, "image": image, "text": text}
        self.size, self.size_px = size, int(image["size_px"])
        self.image = ImageTower(**image) if "depth" in image else ResNetTower(**image)
        self.text = TextTransformer(**text, causal=True)
        self.image_projection = nn.Linear(image["width"], size, bias=False)
        self.text_projection = nn.Linear(text["width"], size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def encode_image(self, x: Tensor) -> Tensor:
        """Return unit vectors z_i (B, D), float32, of pictures (B, C, size_px, size_px) in [-1, 1]."""
        return self.project(self.image(x))

    def project(self, features: Tensor) -> Tensor:
        """Return unit vectors z_i (B, D), float32, of features (B, width) of the image tower."""
        return F.normalize(self.image_projection(features).float(), dim=-1)

    def encode_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit vectors z_t (B, D), float32, of ids (B, L), and the features of every token (B, L, width)."""
        features = self.text(ids)
        return self.embed_caption(ids, features), features

    def embed_caption(self, ids: Tensor, features: Tensor) -> Tensor:
        """Return unit vectors z_t (B, D), float32, of ids (B, L) whose tokens have features (B, L, width)."""
        end = (ids > 0).sum(dim=1).sub(1).clamp(min=0)
        read = features[torch.arange(len(ids), device=ids.device), end]
        return F.normalize(self.text_projection(read).float(), dim=-1)

    def logits(self, z_t: Tensor, z_i: Tensor) -> Tensor:
        """Return scale · z_t z_i^T + bias (T, I); for the sigmoid loss, the log-odds that a pair matches."""
        return self.log_scale.exp().clamp(max=100.0) * z_t @ z_i.T + self.bias


def softmax_loss(logits: Tensor, captions: Tensor | None = None) -> Tensor:
    """Return the symmetric cross-entropy of logits (B, B); the diagonal holds the pairs (CLIP, figure 3).

    captions: numbers (B,), equal where captions are: each of these then matches each of their pictures, as in
    supervised contrastive learning (Khosla et al. 2020, arXiv 2004.11362). Without them, equal captions would be told
    apart, and the loss of a set with few captions would stay near ln(B).
    """
    if captions is not None:
        same = (captions[:, None] == captions).to(logits.dtype)
        target = same / same.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def sigmoid_loss(logits: Tensor) -> Tensor:
    """Return the sum of the binary log losses of all pairs, divided by B; the diagonal matches (SigLIP, eq. 1)."""
    labels = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(labels * logits).sum() / len(logits)
