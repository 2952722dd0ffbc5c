"""unCLIP's autoregressive prior: an image embedding as a sequence of tokens, predicted after the caption.

    p(z_i | y) = prod_j p(b_j | caption, z_t, b_0 ... b_{j-1})

b_0 is the cosine of z_i and z_t. b_1, b_2, ... are the principal components of z_i, largest first. Each is one of
`buckets` tokens (Ramesh et al. 2022, arXiv 2204.06125, sec. 2.2). The mapping between embeddings and tokens is stored
with the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sumi.nn.causal import CausalTransformer, Past, past_length
from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule


class ARPriorNetwork(ConfigModule):
    """Predict tokens (B, 1 + dims) in 0 … buckets - 1, given `cond.vector` z_t (B, size) and `cond.tokens`.

    `cond.tokens` (B, context, token_width) are the caption's features. The buffers mean, axes, low, high and dots are
    those of `EmbeddingTokens`.

    Args:
        size: dimensions of an embedding.
        token_width: width of the caption's features.
        context: tokens of a caption.
        dims: principal components.
        buckets: values of a token.
        width: width of the transformer.
        depth: layers.
        heads: attention heads; they divide the width.
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
        self.size, self.context, self.buckets, self.length = size, context, buckets, 1 + dims
        self.caption_proj, self.text_proj = nn.Linear(token_width, width), nn.Linear(size, width)
        self.token_embedding = nn.Embedding(buckets, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        length = context + 1 + dims
        self.positions = nn.Parameter(0.01 * torch.randn(length, width))
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        self.transformer = CausalTransformer(width, heads, [mask] * depth)
        self.proj_out = nn.Linear(width, buckets)
        shapes = {"mean": (size,), "axes": (dims, size), "low": (dims,), "high": (dims,), "dots": (buckets - 1,)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.mean: Tensor
        self.axes: Tensor
        self.low: Tensor
        self.high: Tensor
        self.dots: Tensor

    def forward(self, known: Tensor, cond: Cond) -> Tensor:
        """Compute the logits (B, n + 1, buckets) of the tokens `known` (B, n), n < 1 + dims, and of the next."""
        features, _ = self._read(cond, known)
        return self.proj_out(features[:, self.context :])  # type: ignore[no-any-return]

    def begin(self, cond: Cond, known: Tensor) -> tuple[Tensor, Past]:
        """Compute the logits (B, buckets) of the token after `known` (B, n), and the past."""
        features, past = self._read(cond, known)
        return self.proj_out(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """One more token (B,), to the logits (B, buckets) of the one after it."""
        features, past = self.transformer(
            self.token_embedding(token[:, None]) + self.positions[past_length(past)], past
        )
        return self.proj_out(features[:, -1]), past

    def _read(self, cond: Cond, known: Tensor) -> tuple[Tensor, Past]:
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the prior needs cond.vector and cond.tokens; for no condition pass zeros")
        if cond.tokens.shape[1] != self.context or known.shape[1] >= self.length:
            raise ValueError(f"expected {self.context} caption tokens and fewer than {self.length} tokens of z_i")
        z_t = self.text_proj(cond.vector * self.size**0.5)[:, None]
        sequence = torch.cat([self.caption_proj(cond.tokens), z_t, self.token_embedding(known.long())], dim=1)
        return self.transformer(sequence + self.positions[: sequence.shape[1]])  # type: ignore[no-any-return]
