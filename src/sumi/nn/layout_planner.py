"""The layout planner: given a caption, which objects a scene has, in which words, and where each stands.

    p(layout | caption) = prod_j p(s_j | caption, s_1 ... s_{j-1})

One causal transformer reads the caption, as CLIP's features and as ids, and continues with the tokens of the layout:
symbols first, then the words of the caption's vocabulary, so that a layout can repeat the caption's words.
`sumi.autoregressive.scene_layout` defines the tokens. Language models plan layouts well: Feng et al. 2023, LayoutGPT,
arXiv 2305.15393.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sumi.nn.causal import CausalTransformer, Past, past_length
from sumi.nn.config_module import ConfigModule


class EncodedCaption(NamedTuple):
    """Captions as token ids (B, context), 0 = padding, and as CLIP's features (B, context, token_width)."""

    ids: Tensor
    features: Tensor


class LayoutPlannerNetwork(ConfigModule):
    """Predict tokens in 0 ... symbols + vocabulary_size - 1; word k is token symbols + k.

    The buffer connecting_words (vocabulary_size,) is 1 for words that a layout may use though the caption lacks them.

    Args:
        vocabulary_size: number of words.
        symbols: number of tokens that are not words.
        context: tokens of a caption.
        token_width: width of the caption's features.
        length: tokens of the longest layout.
        width: width of the transformer.
        depth: layers.
        heads: attention heads; they divide the width.
    """

    def __init__(
        self,
        vocabulary_size: int,
        symbols: int,
        context: int,
        token_width: int,
        length: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.symbols, self.context, self.length = symbols, context, length
        self.tokens = nn.Embedding(symbols + vocabulary_size, width)
        self.features, self.start = nn.Linear(token_width, width), nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.01 * torch.randn(context + length, width))
        mask = torch.ones(context + length, context + length, dtype=torch.bool).tril()
        self.transformer = CausalTransformer(width, heads, [mask] * depth)
        nn.init.normal_(self.tokens.weight, std=0.05)
        self.register_buffer("connecting_words", torch.zeros(vocabulary_size))
        self.connecting_words: Tensor

    def forward(self, known: Tensor, caption: EncodedCaption) -> Tensor:
        """Compute the logits (B, n + 1, K) of the first n < length tokens `known` (B, n) and of the next."""
        return self.logits(self.read(known, caption))

    def read(self, known: Tensor, caption: EncodedCaption) -> Tensor:
        """Compute the features (B, n + 1, width) that `logits` turns into those of `forward`."""
        features, _ = self._read(caption, known)
        return features[:, self.context :]

    def logits(self, features: Tensor) -> Tensor:
        """Map features (..., width) to logits (..., K), their products with each token's embedding."""
        return features @ self.tokens.weight.T.to(features.dtype)

    def begin(self, cond: EncodedCaption, known: Tensor) -> tuple[Tensor, Past]:
        """Compute the logits (B, K) of the token after `known` (B, n), and the past."""
        features, past = self._read(cond, known)
        return self.logits(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """Append a token (B,); compute the logits (B, K) of the one after it, and the past."""
        place = past_length(past)
        features, past = self.transformer(self.tokens(token[:, None]) + self.positions[place], past)
        return self.logits(features[:, -1]), past

    def _read(self, caption: EncodedCaption, known: Tensor) -> tuple[Tensor, Past]:
        if caption.ids.shape[1] != self.context or known.shape[1] >= self.length:
            raise ValueError(f"expected {self.context} ids of a caption and fewer than {self.length} tokens")
        words = self.features(caption.features) + self.tokens(caption.ids.long() + self.symbols)
        sequence = torch.cat([words, self.start.expand(len(words), 1, -1), self.tokens(known.long())], dim=1)
        return self.transformer(sequence + self.positions[: sequence.shape[1]])  # type: ignore[no-any-return]
