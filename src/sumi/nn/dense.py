"""A decoder of dense layers: a small canvas of latents seen as one vector, every position free to be its own.

    h_0 = W x_t + V c,    h_{k+1} = h_k + B_k silu(A_k norm(h_k) + C_k c),    answer = W' norm(h_K)
    c = silu(time(t) + U [z_i, z_t])

Convolutions share their weights over positions and pay for it with arithmetic: a weight of a 3 x 3 convolution is
used 64 times on an 8 x 8 canvas, a dense weight once. Where pictures are few, centred and alike, and arithmetic is
what there is least of, that is a trade worth making.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding


class DenseBlock(nn.Module):
    """A residual layer told the condition between its two matrices."""

    def __init__(self, width: int, cond_width: int) -> None:
        super().__init__()
        self.norm, self.into = nn.LayerNorm(width), nn.Linear(width, width)
        self.told, self.out = nn.Linear(cond_width, width, bias=False), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """(B, width) and (B, cond_width) to (B, width)."""
        return h + self.out(F.silu(self.into(self.norm(h)) + self.told(c)))  # type: ignore[no-any-return]


class DenseDecoder(nn.Module):
    """Conditioned on `cond.vector` (B, vector_width), embeddings of a picture and of words; zeros say nothing.

    channels, side: of the canvas (B, channels, side, side). width, depth: of the dense blocks.
    """

    def __init__(
        self, channels: int, side: int, vector_width: int, width: int, depth: int, cond_width: int = 256
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels, "side": side, "vector_width": vector_width, "width": width, "depth": depth,
            "cond_width": cond_width,
        }  # fmt: skip
        self.canvas = (channels, side, side)
        size = channels * side * side
        self.time, self.vector = TimeEmbedding(cond_width), nn.Linear(vector_width, cond_width)
        self.mouth, self.told = nn.Linear(size, width), nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, cond_width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, channels, side, side), t (B,), to the same shape."""
        if cond.vector is None:
            raise ValueError("the decoder needs cond.vector; zeros mean nothing was said")
        # Two unit vectors: their entries are small.
        c = F.silu(self.time(t) + self.vector(cond.vector * self.config["vector_width"] ** 0.5))
        h = self.mouth(x.flatten(1)) + self.told(c)
        for block in self.blocks:
            h = block(h, c)
        return self.head(self.norm(h)).unflatten(1, self.canvas)  # type: ignore[no-any-return]
