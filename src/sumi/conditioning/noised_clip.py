"""Noised CLIP: its image tower sees noisy pictures and the time, so its gradient can guide sampling.

    logits = scale z_t . z_i(x_t, t),    z unit vectors

Nichol et al. 2021, GLIDE, arXiv 2112.10741, on CLIP guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn import Classifier, Cond, TextTransformer

__all__ = ["NoisedCLIP"]


class NoisedCLIP(nn.Module):
    """An image tower for noisy pictures and a text tower with a common embedding space.

    Args:
        size: the dimension D of the space.
        in_channels: of the pictures.
        channels: of the levels of the image tower, finest first.
        text: configuration of the text tower.
    """

    def __init__(self, size: int, in_channels: int, channels: Sequence[int], text: dict[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "size": size, "in_channels": in_channels, "channels": list(channels), "text": text,
        }  # fmt: skip
        self.image = Classifier(in_channels, size, channels)
        self.text = TextTransformer(**text)
        self.projection = nn.Linear(text["width"], size, bias=False)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Return unit vectors z_t (B, D), float32, of ids (B, L)."""
        return F.normalize(self.projection(self.text(ids)[:, -1]).float(), dim=1)

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Return unit vectors z_i (B, D), float32, of noisy pictures x_t (B, C, H, W) at t (B,)."""
        return F.normalize(self.image(x_t, t, cond).float(), dim=1)
