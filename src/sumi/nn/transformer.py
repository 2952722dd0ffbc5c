"""Pre-norm transformer blocks, and a transformer over token ids that serves as every text encoder here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.attention import Attention


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); (B, L, width) to the same.

    Residual outputs start small, the smaller the deeper the stack (GPT-2).
    """

    def __init__(self, width: int, heads: int, causal: bool = False, expansion: int = 4, depth: int = 1) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        last_layer = nn.Linear(expansion * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU("tanh"), last_layer)
        for layer in (self.attention.out, last_layer):
            nn.init.normal_(layer.weight, std=0.02 / (2 * depth) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of blocks and a last norm."""

    def __init__(self, width: int, depth: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, causal, depth=depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        for block in self.blocks:
            x = block(x)
        return self.norm(x)  # type: ignore[no-any-return]


class TextTransformer(nn.Module):
    """Token ids (B, context) to features (B, context, width); padding is a token like any other.

    vocabulary_size, context: the tokenizer's. causal: whether a token sees only what came before it.
    """

    def __init__(
        self, vocabulary_size: int, context: int, width: int, depth: int, heads: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "vocabulary_size": vocabulary_size, "context": context, "width": width, "depth": depth,
            "heads": heads, "causal": causal,
        }  # fmt: skip
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Parameter(0.01 * torch.randn(context, width))
        self.transformer = Transformer(width, depth, heads, causal)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) integer ids, L ≤ context, to (B, L, width)."""
        return self.transformer(self.tokens(ids.long()) + self.positions[: ids.shape[1]])  # type: ignore[no-any-return]
