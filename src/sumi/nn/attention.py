"""Multi-head attention: softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

There are two implementations that agree. PyTorch's fused kernel is the reference. On a CPU its backward pass in
bfloat16 is several times slower than two plain matrix products around a softmax, so training there uses the products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, mask: Tensor | None = None) -> Tensor:
    """Compute softmax(q k^T / sqrt(D)) v.

    Args:
        q: queries, (B, H, L, D).
        k: keys, (B, H, M, D).
        v: values, (B, H, M, D).
        causal: let position i attend to positions up to i only; needs L = M and no mask.
        mask: bool, broadcastable to (B, H, L, M), True where a query may attend to a key.

    Returns:
        (B, H, L, D).
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return attend_by_products(q, k, v, causal, mask)
    out: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return out


def attend_by_products(q: Tensor, k: Tensor, v: Tensor, causal: bool = False, mask: Tensor | None = None) -> Tensor:
    """Compute `attend` by two explicit matrix products."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    weights: Tensor = logits.float().softmax(-1).to(v.dtype)
    return weights @ v


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape (B, L, H·D) to (B, H, L, D)."""
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Reshape (B, H, L, D) to (B, L, H·D)."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention that also attends to context tokens in the same softmax, as in GLIDE (arXiv 2112.10741, sec. 2.2).

    Args:
        width: width of x (B, L, width).
        heads: attention heads; they divide the width.
        context_width: width of the context (B, M, context_width), or 0 for none.
        causal: let position i attend to positions up to i only.
    """

    def __init__(self, width: int, heads: int, context_width: int = 0, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.context_kv = nn.Linear(context_width, 2 * width) if context_width else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, L, width) to (B, L, width)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.context_kv is not None and context is not None:
            context_k, context_v = self.context_kv(context).chunk(2, dim=-1)
            k, v = torch.cat([k, context_k], dim=1), torch.cat([v, context_v], dim=1)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        return self.out(join_heads(attend(q, k, v, self.causal)))  # type: ignore[no-any-return]
