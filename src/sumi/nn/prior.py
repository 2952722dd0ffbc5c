"""unCLIP's diffusion prior: a causal transformer that predicts an image embedding from a caption.

The sequence is [text tokens, z_t, time, noised z_i, query], and the answer is read at the query (Ramesh et al. 2022,
arXiv 2204.06125, sec. 2.2). It denoises embeddings normalised by the mean and standard deviation of CLIP's image
embeddings, which are stored with the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.transformer import Transformer


class PriorNetwork(ConfigModule):
    """Predict z_i (B, size) given `cond.vector` z_t (B, size) and `cond.tokens` (B, context, token_width).

    Args:
        size: dimensions of an embedding.
        token_width: width of the caption's features.
        context: tokens of a caption.
        width: width of the transformer.
        depth: layers.
        heads: attention heads; they divide the width.
    """

    def __init__(self, size: int, token_width: int, context: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.size = size
        self.tokens = nn.Linear(token_width, width)
        self.text, self.noisy = nn.Linear(size, width), nn.Linear(size, width)
        self.time = TimeEmbedding(width)
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.01 * torch.randn(context + 4, width))
        self.transformer = Transformer(width, depth, heads, causal=True)
        self.out = nn.Linear(width, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.mean: Tensor
        self.std: Tensor

    def normalise(self, z_i: Tensor) -> Tensor:
        """Normalise embeddings (B, size) to zero mean and unit variance in every dimension."""
        return (z_i - self.mean) / self.std

    def denormalise(self, x: Tensor) -> Tensor:
        """Invert `normalise` and scale the embeddings (B, size) to unit length."""
        return F.normalize(x * self.std + self.mean, dim=-1)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, size) at t (B,) to the answer (B, size)."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the prior needs cond.vector and cond.tokens; for no condition pass zeros")
        singles = [
            self.text(cond.vector * self.size**0.5),
            self.time(t),
            self.noisy(x),
            self.query.expand(len(x), -1),
        ]
        sequence = torch.cat([self.tokens(cond.tokens), torch.stack(singles, dim=1)], dim=1)
        return self.out(self.transformer(sequence + self.positions)[:, -1])  # type: ignore[no-any-return]
