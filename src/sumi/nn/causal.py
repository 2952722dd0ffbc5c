"""A transformer that reads a stream once: each layer has a mask, and remembers the keys and values it has seen.

    h_i = attend(q_i; k_j, v_j : mask[i, j]),    mask[i, j] only where j <= i

so position i never depends on what comes later, and (k_j, v_j) of the past may be kept instead of computed
again: with the past handed in, the answers are those of the whole stream read at once. The past is a value, like
a sampler's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sumi.nn.attention import join_heads, split_heads

#: Keys and values of each layer, (B, H, L, D).
Past = tuple[tuple[Tensor, Tensor], ...]


def past_length(past: Past | None) -> int:
    """How many positions have been read."""
    return past[0][0].shape[2] if past else 0


def attend_where(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attend from q (B, H, L, D) to those of k, v (B, H, M, D) where mask (L, M) is true, at least one a row."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    precise = torch.promote_types(q.dtype, torch.float32)
    weights: Tensor = logits.masked_fill(~mask, float("-inf")).softmax(-1, dtype=precise).to(v.dtype)
    return weights @ v


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), under a mask (length, length) of its own."""

    def __init__(self, width: int, heads: int, mask: Tensor, depth: int) -> None:
        super().__init__()
        if bool(mask.triu(1).any()):
            raise ValueError("a causal mask lets no position look at a later one")
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        last_layer = nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), last_layer)
        for layer in (self.out, last_layer):
            nn.init.normal_(layer.weight, std=0.02 / (2 * depth) ** 0.5)
        self.register_buffer("mask", mask, persistent=False)
        self.mask: Tensor

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next positions (B, L, width), and all keys and values so far."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mask = self.mask[k.shape[2] - x.shape[1] : k.shape[2], : k.shape[2]]
        x = x + self.out(join_heads(attend_where(q, k, v, mask)))
        return x + self.mlp(self.norm_mlp(x)), (k, v)


class CausalTransformer(nn.Module):
    """A stack of blocks, one for each mask (length, length), and a last norm."""

    def __init__(self, width: int, heads: int, masks: Sequence[Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width, heads, mask, len(masks)) for mask in masks)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """The features (B, L, width) of the positions x that follow those of `past`, and the past with them."""
        seen = []
        for number, block in enumerate(self.blocks):
            x, layer = block(x, past[number] if past else None)
            seen.append(layer)
        return self.norm(x), tuple(seen)
