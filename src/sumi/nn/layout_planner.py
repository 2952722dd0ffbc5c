"""The arranger: after a caption, which things a picture has, in which words, and where each stands.

    p(arrangement | caption) = prod_j p(s_j | caption, s_1 ... s_{j-1})

One causal transformer reads the caption, as CLIP understood it and word for word, and goes on with the arrangement's
own tokens: symbols first, then the words of the caption's own vocabulary, so that what was said can be repeated. What
the tokens mean is told in `sumi.autoregressive.scene_layout`. That language models arrange pictures well: Feng et al.
2023, LayoutGPT, arXiv 2305.15393.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sumi.nn.causal import CausalTransformer, Past, past_length


class CaptionFeatures(NamedTuple):
    """Captions as ids (B, context), 0 = padding, and as CLIP's features of them (B, context, token_width)."""

    ids: Tensor
    features: Tensor


class LayoutPlannerNetwork(nn.Module):
    """Predict tokens in 0 ... symbols + vocabulary_size - 1; word k is token symbols + k. length: of the longest.

    glue (vocabulary_size,): 1 for words that an arrangement may use though the caption has not said them.
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
        self.config: dict[str, Any] = {
            "vocabulary_size": vocabulary_size, "symbols": symbols, "context": context, "token_width": token_width,
            "length": length, "width": width, "depth": depth, "heads": heads,
        }  # fmt: skip
        self.symbols, self.context, self.length = symbols, context, length
        self.tokens = nn.Embedding(symbols + vocabulary_size, width)
        self.features, self.start = nn.Linear(token_width, width), nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.01 * torch.randn(context + length, width))
        mask = torch.ones(context + length, context + length, dtype=torch.bool).tril()
        self.transformer = CausalTransformer(width, heads, [mask] * depth)
        nn.init.normal_(self.tokens.weight, std=0.05)
        self.register_buffer("glue", torch.zeros(vocabulary_size))
        self.glue: Tensor

    def forward(self, known: Tensor, caption: CaptionFeatures) -> Tensor:
        """The first n < length tokens (B, n), to the logits (B, n + 1, K) of each and of the next."""
        return self.logits(self.read(known, caption))

    def read(self, known: Tensor, caption: CaptionFeatures) -> Tensor:
        """The same up to the last layer, (B, n + 1, width), for whoever needs the logits of some alone."""
        features, _ = self._read(caption, known)
        return features[:, self.context :]

    def logits(self, features: Tensor) -> Tensor:
        """Features (..., width) to logits (..., K): how near they lie to each token."""
        return features @ self.tokens.weight.T.to(features.dtype)

    def begin(self, cond: CaptionFeatures, known: Tensor) -> tuple[Tensor, Past]:
        """Known tokens (B, n), to the logits (B, K) of the next and the past."""
        features, past = self._read(cond, known)
        return self.logits(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """One more token (B,), to the logits (B, K) of the one after it."""
        place = past_length(past)
        features, past = self.transformer(self.tokens(token[:, None]) + self.positions[place], past)
        return self.logits(features[:, -1]), past

    def _read(self, caption: CaptionFeatures, known: Tensor) -> tuple[Tensor, Past]:
        if caption.ids.shape[1] != self.context or known.shape[1] >= self.length:
            raise ValueError(f"expected {self.context} ids of a caption and fewer than {self.length} tokens")
        said = self.features(caption.features) + self.tokens(caption.ids.long() + self.symbols)
        stream = torch.cat([said, self.start.expand(len(said), 1, -1), self.tokens(known.long())], dim=1)
        return self.transformer(stream + self.positions[: stream.shape[1]])  # type: ignore[no-any-return]
