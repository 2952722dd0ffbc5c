"""The text encoder of GLIDE, of which each of its U-Nets has its own.

    h = transformer(embed(token) + position, or padding where there is none),    z_t = W h_last

The U-Net attends to every h, and z_t is added to its time embedding (Nichol et al. 2021, GLIDE, arXiv 2112.10741,
section 4). The transformer sees its whole input from everywhere, padding included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.published.config import PublishedConfig
from sumi.nn.published.unclip import PriorBlock


@dataclass(frozen=True, kw_only=True)
class GlideTextConfig(PublishedConfig):
    """The widths of the encoder. max_position_embeddings: tokens in a text. projection_dim: of z_t."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    projection_dim: int


class GlideTextEncoder(nn.Module):
    """Token ids to the condition of a U-Net of GLIDE. Keyword arguments are the fields of `GlideTextConfig`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, GlideTextConfig.read(config)
        width, length = read.hidden_size, read.max_position_embeddings
        self.token_embedding = nn.Embedding(read.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(length, width))
        self.padding_embedding = nn.Parameter(torch.zeros(length, width))
        self.transformer_blocks = nn.ModuleList(
            PriorBlock(width, read.num_attention_heads) for _ in range(read.num_hidden_layers)
        )
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, read.projection_dim)

    def forward(self, ids: Tensor, mask: Tensor) -> Cond:
        """Encode texts.

        Args:
            ids: (B, L) int64, L = max_position_embeddings.
            mask: (B, L) bool, False where a token only fills the row.

        Returns:
            `vector` (B, projection_dim) and `tokens` (B, L, hidden_size).
        """
        x = self.token_embedding(ids) + self.positional_embedding
        x = torch.where(mask[..., None], x, self.padding_embedding)
        for block in self.transformer_blocks:
            x = block(x)
        tokens = self.norm_out(x)
        return Cond(self.proj_out(tokens[:, -1]), tokens)
