"""The diffusion transformer: a picture cut into patches, and a transformer told the time by its norms.

    x <- x + gate · attention(scale · norm(x) + shift),    (gate, scale, shift) from the time and the condition

with gates that begin at zero, so that every block begins as the identity (adaLN-zero: Peebles & Xie 2023, arXiv
2212.09748, section 3.2). It takes what the U-Net takes, and stands beside it as a dial.

The condition's tokens are looked at as they are; or, `joint`, they are a second stream with weights of its own, that
looks and is looked at in one attention, and is rewritten from block to block (MM-DiT: Esser et al. 2024, arXiv
2403.03206):    q, k, v = [q_x, q_c], [k_x, k_c], [v_x, v_c]
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import Attention, attend, join_heads, split_heads
from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding, sinusoids
from sumi.nn.unet import zero_init


def grid_positions(height: int, width: int, size: int) -> Tensor:
    """Where each place of a grid is, in raster order: (height·width, size), half for its row, half for its column."""
    rows, columns = (sinusoids(torch.arange(count, dtype=torch.float32) / 1000, size // 2) for count in (height, width))
    grid = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(grid, dim=-1).flatten(0, 1)


class DiTBlock(nn.Module):
    """Attention among the patches and to the context's tokens, then two layers, both modulated and gated."""

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads, context_width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulate = nn.Linear(width, 6 * width)
        zero_init(self.modulate)

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """(B, L, width), (B, width) and (B, M, context_width) to (B, L, width)."""
        change = self.modulate(F.silu(embedding))[:, None].chunk(6, dim=-1)
        scale, shift, gate, scale_mlp, shift_mlp, gate_mlp = change
        x = x + gate * self.attention(self.norm_attention(x) * (1 + scale) + shift, context)
        return x + gate_mlp * self.mlp(self.norm_mlp(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]


class JointStream(nn.Module):
    """One kind of tokens in a joint block: its own norms, matrices and modulation. deaf: it takes no answer."""

    def __init__(self, width: int, heads: int, deaf: bool = False) -> None:
        super().__init__()
        self.heads, self.parts = heads, 2 if deaf else 6
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.modulate = nn.Linear(width, 3 * width), nn.Linear(width, self.parts * width)
        zero_init(self.modulate)
        if not deaf:
            self.out = nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def asks(self, x: Tensor, embedding: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Tokens (B, L, width) as q, k and v (B, heads, L, d), and the rest of the modulation."""
        scale, shift, *rest = self.modulate(F.silu(embedding))[:, None].chunk(self.parts, dim=-1)
        qkv = self.qkv(self.norm(x) * (1 + scale) + shift).chunk(3, dim=-1)
        return [split_heads(part, self.heads) for part in qkv], tuple(rest)

    def takes(self, x: Tensor, answer: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """The tokens after what attention answered (B, heads, L, d), and two layers."""
        gate, scale, shift, gate_mlp = rest
        x = x + gate * self.out(join_heads(answer))
        return x + gate_mlp * self.mlp(self.norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


class JointBlock(nn.Module):
    """Patches and words in one attention, each by weights of its own; of the last block the words are not needed."""

    def __init__(self, width: int, heads: int, last: bool) -> None:
        super().__init__()
        self.picture, self.words, self.last = JointStream(width, heads), JointStream(width, heads, deaf=last), last

    def forward(self, x: Tensor, c: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, width), (B, M, width) and (B, width) to both streams again."""
        (of_x, rest_x), (of_c, rest_c) = self.picture.asks(x, embedding), self.words.asks(c, embedding)
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(of_x, of_c, strict=True))
        to_x, to_c = torch.split(attend(q, k, v), [x.shape[1], c.shape[1]], dim=2)
        return self.picture.takes(x, to_x, rest_x), c if self.last else self.words.takes(c, to_c, rest_c)


class DiT(nn.Module):
    """A transformer over the patches of signals (B, in_channels, H, W), H and W divisible by `patch`.

    width: of a token, divisible by 4 and by heads. concat_channels: channels of `cond.concat`. vector_width:
    length of `cond.vector`, added to the time embedding. context_width: width of `cond.tokens`. joint: whether those
    are a second stream, without which it then does not work.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        concat_channels: int = 0,
        vector_width: int = 0,
        context_width: int = 0,
        joint: bool = False,
    ) -> None:
        super().__init__()
        if joint and not context_width:
            raise ValueError("two streams need a context_width: that of the second")
        if width % 4 or width % heads:
            raise ValueError(f"a width of {width} must be divisible by 4 and by the {heads} heads")
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "out_channels": out_channels, "patch": patch, "width": width, "depth": depth,
            "heads": heads, "concat_channels": concat_channels, "vector_width": vector_width,
            "context_width": context_width, "joint": joint,
        }  # fmt: skip
        self.patch, self.width = patch, width
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.mouth = nn.Linear((in_channels + concat_channels) * patch**2, width)
        self.words = nn.Linear(context_width, width) if joint else None
        blocks = (JointBlock(width, heads, last=k == depth - 1) if joint else DiTBlock(width, heads, context_width)
                  for k in range(depth))  # fmt: skip
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate, self.head = nn.Linear(width, 2 * width), nn.Linear(width, out_channels * patch**2)
        zero_init(self.modulate)
        zero_init(self.head)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_channels, H, W), t (B,) in [0, 1], to (B, out_channels, H, W)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        folded = F.pixel_unshuffle(x, self.patch)
        height, width = folded.shape[2:]
        h = self.mouth(folded.flatten(2).transpose(1, 2))
        h = h + grid_positions(height, width, self.width).to(device=h.device, dtype=h.dtype)
        if self.words is None:
            for block in self.blocks:
                h = block(h, embedding, cond.tokens)
        else:
            if cond.tokens is None:
                raise ValueError("two streams need cond.tokens; zeros mean nothing was said")
            c = self.words(cond.tokens)
            for block in self.blocks:
                h, c = block(h, c, embedding)
        scale, shift = self.modulate(F.silu(embedding))[:, None].chunk(2, dim=-1)
        out = self.head(self.norm(h) * (1 + scale) + shift).transpose(1, 2).unflatten(2, (height, width))
        return F.pixel_shuffle(out, self.patch)
