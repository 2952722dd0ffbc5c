"""A small residual MLP for vectors and toy problems.

Time and condition set the scale and the shift of each layer's norm, as in the U-Net's blocks.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding


class MLP(ConfigModule):
    """A residual MLP over signals (B, in_features).

    Args:
        in_features: width of the signal.
        out_features: width of the answer.
        width: width of the layers.
        depth: number of residual layers.
        vector_width: width of `cond.vector`, which is added to the time embedding; 0 for none.
    """

    def __init__(
        self, in_features: int, out_features: int, width: int = 128, depth: int = 3, vector_width: int = 0
    ) -> None:
        super().__init__()
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.proj_in = nn.Linear(in_features, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(depth))
        self.modulate = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.proj_out = nn.Linear(width, out_features)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, in_features) at t (B,) to the answer (B, out_features)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        embedding, h = F.silu(embedding), self.proj_in(x)
        for norm, modulate, layer in zip(self.norms, self.modulate, self.layers, strict=True):
            scale, shift = modulate(embedding).chunk(2, dim=1)
            h = h + layer(F.silu(norm(h) * (1 + scale) + shift))
        return self.proj_out(F.silu(h))  # type: ignore[no-any-return]
