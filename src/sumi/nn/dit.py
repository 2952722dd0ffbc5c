"""The diffusion transformer: a picture cut into patches, and a transformer told the time by its norms.

    x <- x + gate · attention(scale · norm(x) + shift),    (gate, scale, shift) from the time and the condition

with gates that begin at zero, so that every block begins as the identity (adaLN-zero: Peebles & Xie 2023, arXiv
2212.09748, section 3.2). It takes what the U-Net takes, and stands beside it as a dial.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import Attention
from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding, sinusoids
from sumi.nn.unet import silence


def grid_positions(height: int, width: int, size: int) -> Tensor:
    """Where each place of a grid is, in raster order: (height·width, size), half for its row, half for its column."""
    rows, columns = (sinusoids(torch.arange(count) / 1000, size // 2) for count in (height, width))
    grid = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(grid, dim=-1).flatten(0, 1)


class DiTBlock(nn.Module):
    """Attention among the patches and to the context's tokens, then two layers, both modulated and gated."""

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads, context_width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulate = nn.Linear(width, 6 * width)
        silence(self.modulate)

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """(B, L, width), (B, width) and (B, M, context_width) to (B, L, width)."""
        change = self.modulate(F.silu(embedding))[:, None].chunk(6, dim=-1)
        scale, shift, gate, scale_mlp, shift_mlp, gate_mlp = change
        x = x + gate * self.attention(self.norm_attention(x) * (1 + scale) + shift, context)
        return x + gate_mlp * self.mlp(self.norm_mlp(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]


class DiT(nn.Module):
    """A transformer over the patches of signals (B, in_channels, H, W), H and W divisible by `patch`.

    width: of a token, divisible by 4 and by heads. concat_channels: channels of `cond.concat`. vector_width:
    length of `cond.vector`, added to the time embedding. context_width: width of `cond.tokens`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        concat_channels: int = 0,
        vector_width: int = 0,
        context_width: int = 0,
    ) -> None:
        super().__init__()
        if width % 4 or width % heads:
            raise ValueError(f"a width of {width} must be divisible by 4 and by the {heads} heads")
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "out_channels": out_channels, "patch": patch, "width": width, "depth": depth,
            "heads": heads, "concat_channels": concat_channels, "vector_width": vector_width,
            "context_width": context_width,
        }  # fmt: skip
        self.patch, self.width = patch, width
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.mouth = nn.Linear((in_channels + concat_channels) * patch**2, width)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, context_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate, self.head = nn.Linear(width, 2 * width), nn.Linear(width, out_channels * patch**2)
        silence(self.modulate)
        silence(self.head)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_channels, H, W), t (B,) in [0, 1], to (B, out_channels, H, W)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        folded = F.pixel_unshuffle(x, self.patch)
        height, width = folded.shape[2:]
        h = self.mouth(folded.flatten(2).transpose(1, 2))
        h = h + grid_positions(height, width, self.width).to(device=h.device, dtype=h.dtype)
        for block in self.blocks:
            h = block(h, embedding, cond.tokens)
        scale, shift = self.modulate(F.silu(embedding))[:, None].chunk(2, dim=-1)
        out = self.head(self.norm(h) * (1 + scale) + shift).transpose(1, 2).unflatten(2, (height, width))
        return F.pixel_shuffle(out, self.patch)
