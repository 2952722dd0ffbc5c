"""What karlo, Kandinsky 2.2 and Stable unCLIP have beside their U-Nets and CLIP, with diffusers' parameter names.

The prior is a causal transformer over [words, z_t, time, noised z_i, query], which answers with z_i at the query
(Ramesh et al. 2022, arXiv 2204.06125, section 2.2). Before it reaches karlo's decoder, an image embedding becomes four
more context tokens and a part of the time embedding (section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import sinusoids
from sumi.nn.published.attention import GELU, FeedForward, MultiHeadAttention
from sumi.nn.published.config import PublishedConfig
from sumi.nn.published.timestep import TimestepEmbedding


@dataclass(frozen=True, kw_only=True)
class PriorTransformerConfig(PublishedConfig):
    """The prior. num_embeddings: words in a sequence."""

    embedding_dim: int
    num_attention_heads: int
    attention_head_dim: int
    num_layers: int
    num_embeddings: int
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {
        "added_emb_type": ("prd",), "additional_embeddings": (4,), "clip_embed_dim": (None,),
        "embedding_proj_dim": (None,), "embedding_proj_norm_type": (None,), "encoder_hid_proj_type": ("linear",),
        "norm_in_type": (None,), "time_embed_act_fn": ("silu",), "time_embed_dim": (None,),
    }  # fmt: skip
    unused: ClassVar[frozenset[str]] = frozenset({"dropout"})


@dataclass(frozen=True, kw_only=True)
class UnCLIPTextProjConfig(PublishedConfig):
    """The widths between CLIP and karlo's decoder."""

    time_embed_dim: int
    cross_attention_dim: int
    clip_embeddings_dim: int = 768
    clip_extra_context_tokens: int = 4


@dataclass(frozen=True, kw_only=True)
class ImageNormalizerConfig(PublishedConfig):
    """The width of the image embeddings."""

    embedding_dim: int


class PriorBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn1 = MultiHeadAttention(width, heads, bias=True)
        self.ff = FeedForward(width, GELU)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, width), and a mask broadcastable to (B, heads, L, L), to (B, L, width)."""
        x = x + self.attn1(self.norm1(x), mask=mask)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class PriorTransformer(nn.Module):
    """The prior of karlo and of Kandinsky 2.2. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, PriorTransformerConfig.read(config)
        size, width = read.embedding_dim, read.num_attention_heads * read.attention_head_dim
        self.size, length = size, read.num_embeddings + 4
        self.time_embedding = TimestepEmbedding(width, width)
        self.proj_in, self.embedding_proj = nn.Linear(size, width), nn.Linear(size, width)
        self.encoder_hidden_states_proj = nn.Linear(size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(1, length, width))
        self.prd_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.transformer_blocks = nn.ModuleList(
            PriorBlock(width, read.num_attention_heads) for _ in range(read.num_layers)
        )
        self.norm_out = nn.LayerNorm(width)
        self.proj_to_clip_embeddings = nn.Linear(width, size)
        self.clip_mean, self.clip_std = nn.Parameter(torch.zeros(1, size)), nn.Parameter(torch.ones(1, size))

    def normalise(self, z_i: Tensor) -> Tensor:
        """Image embeddings (B, size) as the diffusion sees them."""
        return (z_i - self.clip_mean) / self.clip_std

    def denormalise(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.clip_std + self.clip_mean

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, size), t (B,) in (0, 1], to (B, size).

        `cond.vector` is z_t (B, size), not normalised; `cond.tokens` the text tower's output (B, num_embeddings, size);
        `cond.mask` (B, num_embeddings), True up to the end of the text, or None where every token counts.
        """
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the prior needs cond.vector and cond.tokens")
        dtype = self.proj_in.weight.dtype
        singles = [self.embedding_proj(cond.vector.to(dtype)), self.time_embedding.at(t), self.proj_in(x.to(dtype))]
        query = self.prd_embedding.expand(len(x), -1, -1)
        words = self.encoder_hidden_states_proj(cond.tokens.to(dtype))
        h = torch.cat([words, torch.stack(singles, dim=1), query], dim=1) + self.positional_embedding
        mask = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).tril()
        if cond.mask is not None:
            mask = mask & F.pad(cond.mask, (0, 4), value=True)[:, None, None]
        for block in self.transformer_blocks:
            h = block(h, mask)
        return self.proj_to_clip_embeddings(self.norm_out(h)[:, -1])  # type: ignore[no-any-return]


class UnCLIPTextProjModel(nn.Module):
    """What karlo's decoder is told. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, UnCLIPTextProjConfig.read(config)
        size, time_width, width = read.clip_embeddings_dim, read.time_embed_dim, read.cross_attention_dim
        self.extra_tokens = read.clip_extra_context_tokens
        self.learned_classifier_free_guidance_embeddings = nn.Parameter(torch.zeros(size))
        self.embedding_proj = nn.Linear(size, time_width)
        self.clip_image_embeddings_project_to_time_embeddings = nn.Linear(size, time_width)
        self.clip_extra_context_tokens_proj = nn.Linear(size, self.extra_tokens * width)
        self.encoder_hidden_states_proj = nn.Linear(size, width)
        self.text_encoder_hidden_states_norm = nn.LayerNorm(width)

    @property
    def null_image_embed(self) -> Tensor:
        """The embedding (size,) that guidance leads away from, in the place of an image's."""
        return self.learned_classifier_free_guidance_embeddings

    def forward(self, image_embed: Tensor, text_embed: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Cond:
        """Return the decoder's condition.

        Args:
            image_embed: (B, size), the prior's answer or an image's, not normalised.
            text_embed: (B, size), the text's embedding, not normalised.
            tokens: (B, L, size), the text tower's output.
            mask: (B, L), True up to the end of the text.
        """
        dtype = self.embedding_proj.weight.dtype
        image_embed, text_embed, tokens = (given.to(dtype) for given in (image_embed, text_embed, tokens))
        vector = self.clip_image_embeddings_project_to_time_embeddings(image_embed) + self.embedding_proj(text_embed)
        # The projection holds the tokens as columns: entry i of token k is at 4 i + k.
        extra = self.clip_extra_context_tokens_proj(image_embed).view(len(image_embed), -1, self.extra_tokens)
        words = self.text_encoder_hidden_states_norm(self.encoder_hidden_states_proj(tokens))
        if mask is not None:
            mask = F.pad(mask, (self.extra_tokens, 0), value=True)
        return Cond(vector, torch.cat([extra.transpose(1, 2), words], dim=1), mask)


class StableUnCLIPImageNormalizer(nn.Module):
    """The mean and deviation of the image embeddings that Stable unCLIP was trained on."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, ImageNormalizerConfig.read(config)
        self.mean = nn.Parameter(torch.zeros(1, read.embedding_dim))
        self.std = nn.Parameter(torch.ones(1, read.embedding_dim))

    def normalise(self, z_i: Tensor) -> Tensor:
        """Image embeddings (B, embedding_dim) with zero mean and unit variance, which noise is added to."""
        return (z_i - self.mean) / self.std

    def denormalise(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.std + self.mean

    def condition(self, z_i: Tensor, noise_level: Tensor) -> Tensor:
        """The U-Net's `cond.vector` (B, 2 embedding_dim): noised embeddings, and their noise level (B,), 0 … 999."""
        return torch.cat([z_i, sinusoids(noise_level, z_i.shape[1], scale=1.0).to(z_i.dtype)], dim=1)
