"""unCLIP's diffusion prior: it predicts an image embedding from a caption.

Either as in the paper by a causal transformer over [text tokens, z_t, time, noised z_i, query], whose answer is read at
the query (Ramesh et al. 2022, arXiv 2204.06125, sec. 2.2), or by dense layers, which learn from ten times as many
captions in the same time on a processor:

    c = time(t) + U z_t + pool(tokens),     h_0 = W x_t + V c,     h_{k+1} = h_k + B_k silu(A_k norm(h_k) + C_k c)

Both denoise embeddings normalised by the mean and standard deviation of CLIP's image embeddings, which are stored with
the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.dense import AttentionPool, DenseBlock
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.transformer import Transformer
from sumi.nn.unet import zero_init


class EmbeddingDenoiser(ConfigModule):
    """A network that denoises embeddings, normalised by a mean and a standard deviation that are stored with it.

    Args:
        size: dimensions of an embedding.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
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


class PriorNetwork(EmbeddingDenoiser):
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
        super().__init__(size)
        self.tokens = nn.Linear(token_width, width)
        self.text, self.noisy = nn.Linear(size, width), nn.Linear(size, width)
        self.time = TimeEmbedding(width)
        self.query = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.01 * torch.randn(context + 4, width))
        self.transformer = Transformer(width, depth, heads, causal=True)
        self.out = nn.Linear(width, size)

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


class DensePrior(EmbeddingDenoiser):
    """Predict z_i (B, size) given `cond.vector` z_t (B, size) and `cond.tokens` (B, L, token_width).

    Args:
        size: dimensions of an embedding.
        token_width: width of the caption's features.
        width: width of the dense blocks.
        depth: number of dense blocks.
        cond_width: width of the condition inside the network.
        num_queries: queries of the `AttentionPool` over the tokens.
    """

    def __init__(
        self, size: int, token_width: int, width: int, depth: int, cond_width: int = 256, num_queries: int = 4
    ) -> None:
        super().__init__(size)
        self.time, self.text = TimeEmbedding(cond_width), nn.Linear(size, cond_width)
        self.text_pool = AttentionPool(token_width, num_queries, cond_width)
        self.proj_in, self.cond_proj = nn.Linear(size, width), nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, cond_width) for _ in range(depth))
        self.norm, self.proj_out = nn.LayerNorm(width), nn.Linear(width, size)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, size) at t (B,) to the answer (B, size)."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the prior needs cond.vector and cond.tokens; for no condition pass zeros")
        c = self.time(t) + self.text(cond.vector * self.size**0.5) + self.text_pool(cond.tokens)
        c = F.silu(c)
        h = self.proj_in(x) + self.cond_proj(c)
        for block in self.blocks:
            h = block(h, c)
        return self.proj_out(self.norm(h))  # type: ignore[no-any-return]
