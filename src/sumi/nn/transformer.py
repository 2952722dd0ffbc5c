"""Pre-norm transformer blocks, and the text encoder of CLIP and GLIDE."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sumi.nn.attention import Attention
from sumi.nn.config_module import ConfigModule


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: width of x.
        heads: attention heads; they divide the width.
        causal: let position i attend to positions up to i only.
        expansion: hidden width of the MLP, in widths.
        depth: layers of the stack: the residual outputs start at 1 / sqrt(2 depth) of the usual scale, as in GPT-2.
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
        """Map (B, L, width) to the same shape."""
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of blocks and a last norm."""

    def __init__(self, width: int, depth: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, causal, depth=depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, width) to the same shape."""
        for block in self.blocks:
            x = block(x)
        return self.norm(x)  # type: ignore[no-any-return]


class TextTransformer(ConfigModule):
    """Token ids (B, context) to features (B, context, width); padding is a token like any other.

    Args:
        vocabulary_size: number of token ids.
        context: longest sequence.
        width: width of the features.
        depth: layers.
        heads: attention heads; they divide the width.
        causal: let token i attend to tokens up to i only.
    """

    def __init__(
        self, vocabulary_size: int, context: int, width: int, depth: int, heads: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Parameter(0.01 * torch.randn(context, width))
        self.transformer = Transformer(width, depth, heads, causal)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Map integer ids (B, L), L ≤ context, to (B, L, width)."""
        return self.transformer(self.tokens(ids.long()) + self.positions[: ids.shape[1]])  # type: ignore[no-any-return]
