"""Attention layers of published diffusion models, with diffusers' parameter names.

Latent diffusion looks at itself and then at the words, in blocks of a small transformer (Rombach et al. 2022, arXiv
2112.10752, section 3.3). unCLIP's decoder looks at both in one softmax, as GLIDE does (Nichol et al. 2021, arXiv
2112.10741, section 4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import attend, join_heads, split_heads


class MultiHeadAttention(nn.Module):
    """Attention from x (B, L, width) to itself, or to a context (B, M, context_width)."""

    def __init__(self, width: int, heads: int, context_width: int | None = None, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context_width or width, width, bias=bias)
        self.to_v = nn.Linear(context_width or width, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x, and a mask broadcastable to (B, heads, L, M), to (B, L, width)."""
        source = x if context is None else context
        q, k, v = self.to_q(x), self.to_k(source), self.to_v(source)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        return self.to_out[0](join_heads(attend(q, k, v, mask=mask)))  # type: ignore[no-any-return]


class GEGLU(nn.Module):
    """a gelu(b), where a and b are two linear images of x. Shazeer 2020, arXiv 2002.05202."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out_width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, out_width)."""
        a, b = self.proj(x).chunk(2, dim=-1)
        return a * F.gelu(b)  # type: ignore[no-any-return]


class GELU(nn.Module):
    """gelu(W x)."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, L, out_width)."""
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """Two layers with four times the width between them."""

    def __init__(self, width: int, activation: type[GEGLU] | type[GELU]) -> None:
        super().__init__()
        self.net = nn.ModuleList([activation(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same."""
        for layer in self.net:
            x = layer(x)
        return x


class TransformerBlock(nn.Module):
    """Attention among the positions, attention to the context, and a feed-forward layer, each after a norm."""

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = MultiHeadAttention(width, heads)
        self.attn2 = MultiHeadAttention(width, heads, context_width)
        self.ff = FeedForward(width, GEGLU)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, width), (B, M, context_width) and a mask (B, 1, 1, M) to (B, L, width)."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context, mask)
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class SpatialTransformer(nn.Module):
    """A transformer over the positions of a feature map. linear: whether its ends are linear layers or convolutions."""

    def __init__(self, channels: int, heads: int, context_width: int, depth: int, groups: int, linear: bool) -> None:
        super().__init__()
        self.norm, self.linear = nn.GroupNorm(groups, channels, eps=1e-6), linear
        self.proj_in, self.proj_out = (
            nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1) for _ in range(2)
        )
        self.transformer_blocks = nn.ModuleList(TransformerBlock(channels, heads, context_width) for _ in range(depth))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, M, context_width) and a mask (B, M) to (B, C, H, W)."""
        seen = None if mask is None else mask[:, None, None]
        h = self.norm(x)
        h = self.proj_in(to_tokens(h)) if self.linear else to_tokens(self.proj_in(h))
        for block in self.transformer_blocks:
            h = block(h, context, seen)
        h = to_map(self.proj_out(h), x) if self.linear else self.proj_out(to_map(h, x))
        return x + h


class AddedKVAttention(nn.Module):
    """Attention to the positions of the feature map, and in the same softmax to a context where there is one."""

    def __init__(self, channels: int, heads: int, context_width: int | None, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.group_norm = nn.GroupNorm(groups, channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        if context_width is not None:
            self.add_k_proj, self.add_v_proj = (nn.Linear(context_width, channels) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, M, context_width) or None, and a mask (B, M) to (B, C, H, W)."""
        h = to_tokens(self.group_norm(x))
        k, v = self.to_k(h), self.to_v(h)
        if context is not None:
            k, v = torch.cat([self.add_k_proj(context), k], dim=1), torch.cat([self.add_v_proj(context), v], dim=1)
        q, k, v = (split_heads(part, self.heads) for part in (self.to_q(h), k, v))
        if mask is not None:
            mask = F.pad(mask, (0, h.shape[1]), value=True)[:, None, None]
        return x + to_map(self.to_out[0](join_heads(attend(q, k, v, mask=mask))), x)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H·W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, like: Tensor) -> Tensor:
    """(B, H·W, C) to (B, C, H, W), with the height and width of `like`."""
    return tokens.transpose(1, 2).reshape(len(like), -1, *like.shape[2:])
