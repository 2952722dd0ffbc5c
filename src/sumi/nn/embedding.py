"""Time embeddings: sines and cosines at geometric frequencies (Vaswani et al. 2017, arXiv 1706.03762, sec. 3.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["TimeEmbedding", "sinusoids"]


def sinusoids(t: Tensor, width: int, longest: float = 10_000.0, scale: float = 1000.0) -> Tensor:
    """Embed t (B,), times in [0, 1], as (B, width) of cosines and sines of scale·t, in float32."""
    half = width // 2
    rates = torch.exp(-math.log(longest) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = scale * t.float()[:, None] * rates[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Two layers over the sinusoids of a time; waves: number of sinusoids."""

    def __init__(self, width: int, waves: int = 128) -> None:
        super().__init__()
        self.waves = waves
        self.layers = nn.Sequential(nn.Linear(waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Map t (B,) to (B, width)."""
        return self.layers(sinusoids(t, self.waves))  # type: ignore[no-any-return]
