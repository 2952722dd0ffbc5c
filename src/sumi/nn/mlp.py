"""The smallest network there is for toys: a signal in a row, the time, and a few layers.

Residual layers take the time and the condition as a scale and a shift of their norm, as the U-Net's blocks do.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding


class MLP(nn.Module):
    """Signals (B, in_features) to (B, out_features). vector_width: length of `cond.vector`."""

    def __init__(
        self, in_features: int, out_features: int, width: int = 128, depth: int = 3, vector_width: int = 0
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "in_features": in_features, "out_features": out_features, "width": width, "depth": depth,
            "vector_width": vector_width,
        }  # fmt: skip
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.mouth = nn.Linear(in_features, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth))
        self.modulate = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, out_features)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_features), t (B,), to (B, out_features)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        embedding, h = F.silu(embedding), self.mouth(x)
        for norm, modulate, layer in zip(self.norms, self.modulate, self.layers, strict=True):
            scale, shift = modulate(embedding).chunk(2, dim=1)
            h = h + layer(F.silu(norm(h) * (1 + scale) + shift))
        return self.head(F.silu(h))  # type: ignore[no-any-return]
