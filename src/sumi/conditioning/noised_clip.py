"""CLIP that sees through noise: its image tower is told the time, so that its gradient means something on the way.

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
    """Two towers into one space of `size` dimensions; channels: those of the image tower's levels, finest first.

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
        """Ids (B, L) as unit vectors z_t (B, size), float32."""
        return F.normalize(self.projection(self.text(ids)[:, -1]).float(), dim=1)

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Noisy pictures x_t (B, C, H, W) at t (B,) as unit vectors z_i (B, size), float32."""
        return F.normalize(self.image(x_t, t, cond).float(), dim=1)
