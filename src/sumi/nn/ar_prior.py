"""unCLIP's autoregressive prior: a picture's embedding as a sentence, written after its caption.

    p(z_i | y) = prod_j p(b_j | caption, z_t, b_0 ... b_{j-1})

b_0 says how near z_i is to z_t, b_1 ... the principal components of z_i, largest first, each one of `buckets`
words (Ramesh et al. 2022, section 2.2). How embeddings become these words is kept with the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.causal import CausalTransformer, Past, past_length
from sumi.nn.cond import Cond


class ARPriorNetwork(nn.Module):
    """Predict tokens (B, 1 + dims) in 0 … buckets - 1, given `cond.vector` z_t (B, size) and `cond.tokens`.

    cond.tokens (B, context, token_width): the caption's features. mean, axes, low, high, dots: see
    `EmbeddingTokens`.
    """

    def __init__(
        self,
        size: int,
        token_width: int,
        context: int,
        dims: int,
        buckets: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "size": size, "token_width": token_width, "context": context, "dims": dims, "buckets": buckets,
            "width": width, "depth": depth, "heads": heads,
        }  # fmt: skip
        self.size, self.context, self.buckets, self.length = size, context, buckets, 1 + dims
        self.caption, self.text = nn.Linear(token_width, width), nn.Linear(size, width)
        self.words = nn.Embedding(buckets, width)
        nn.init.normal_(self.words.weight, std=0.02)
        length = context + 1 + dims
        self.positions = nn.Parameter(0.01 * torch.randn(length, width))
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        self.transformer = CausalTransformer(width, heads, [mask] * depth)
        self.head = nn.Linear(width, buckets)
        shapes = {"mean": (size,), "axes": (dims, size), "low": (dims,), "high": (dims,), "dots": (buckets - 1,)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.mean: Tensor
        self.axes: Tensor
        self.low: Tensor
        self.high: Tensor
        self.dots: Tensor

    def forward(self, known: Tensor, cond: Cond) -> Tensor:
        """The first n tokens (B, n), n < 1 + dims, to the logits (B, n + 1, buckets) of each and of the next."""
        features, _ = self._read(cond, known)
        return self.head(features[:, self.context :])  # type: ignore[no-any-return]

    def begin(self, cond: Cond, known: Tensor) -> tuple[Tensor, Past]:
        """Known tokens (B, n), to the logits (B, buckets) of the next and the past."""
        features, past = self._read(cond, known)
        return self.head(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """One more token (B,), to the logits (B, buckets) of the one after it."""
        features, past = self.transformer(self.words(token[:, None]) + self.positions[past_length(past)], past)
        return self.head(features[:, -1]), past

    def _read(self, cond: Cond, known: Tensor) -> tuple[Tensor, Past]:
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the prior needs cond.vector and cond.tokens; zeros mean nothing was said")
        if cond.tokens.shape[1] != self.context or known.shape[1] >= self.length:
            raise ValueError(f"expected {self.context} caption tokens and fewer than {self.length} tokens of z_i")
        z_t = self.text(cond.vector * self.size**0.5)[:, None]
        stream = torch.cat([self.caption(cond.tokens), z_t, self.words(known.long())], dim=1)
        return self.transformer(stream + self.positions[: stream.shape[1]])  # type: ignore[no-any-return]
