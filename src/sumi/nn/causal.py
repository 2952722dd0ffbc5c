"""A causal transformer with a mask per layer and a key-value cache.

    h_i = attend(q_i; k_j, v_j : mask[i, j]),    mask[i, j] only where j <= i

Position i never depends on later ones, so (k_j, v_j) of the past are kept instead of computed again. With the past
passed in, the features are those of the whole sequence at once. The past is a value, like a sampler's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sumi.nn.attention import join_heads, split_heads

Past = tuple[tuple[Tensor, Tensor], ...]
"""The keys and values of each layer, each (B, H, L, D)."""


def past_length(past: Past | None) -> int:
    """Return the number of positions in the past."""
    return past[0][0].shape[2] if past else 0


def attend_where(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attend from q (B, H, L, D) to k, v (B, H, M, D) where mask (L, M) is True, at least once in every row."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    precise = torch.promote_types(q.dtype, torch.float32)
    weights: Tensor = logits.masked_fill(~mask, float("-inf")).softmax(-1, dtype=precise).to(v.dtype)
    return weights @ v


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: width of x.
        heads: attention heads; they divide the width.
        mask: bool (length, length), True where row attends to column; lower triangular.
        depth: layers of the stack, which scale the initial weights.

    Raises:
        ValueError: the mask is not causal.
    """

    def __init__(self, width: int, heads: int, mask: Tensor, depth: int) -> None:
        super().__init__()
        if bool(mask.triu(1).any()):
            raise ValueError("a causal mask must be lower triangular: no position attends to a later one")
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
        """Map the next positions (B, L, width) to the same shape; return it with all keys and values so far."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mask = self.mask[k.shape[2] - x.shape[1] : k.shape[2], : k.shape[2]]
        x = x + self.out(join_heads(attend_where(q, k, v, mask)))
        return x + self.mlp(self.norm_mlp(x)), (k, v)


class CausalTransformer(nn.Module):
    """A stack of blocks and a last norm; masks: one bool (length, length) per layer."""

    def __init__(self, width: int, heads: int, masks: Sequence[Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width, heads, mask, len(masks)) for mask in masks)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Compute the features (B, L, width) of positions x that follow `past`, and the past that includes them."""
        layers = []
        for number, block in enumerate(self.blocks):
            x, layer = block(x, past[number] if past else None)
            layers.append(layer)
        return self.norm(x), tuple(layers)
