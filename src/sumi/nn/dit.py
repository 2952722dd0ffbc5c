"""The diffusion transformer: a transformer over the patches of an image, modulated by the time.

    x <- x + gate · attention((1 + scale) · norm(x) + shift),    (gate, scale, shift) from the time and the condition

The gates are zero at first, so every block starts as the identity (adaLN-zero: Peebles and Xie 2023, arXiv 2212.09748,
sec. 3.2). It has the inputs of the U-Net and can replace it.

Blocks attend to the condition's tokens as context. With `joint`, the tokens are a second stream with weights of its own
that shares the attention and changes from block to block (MM-DiT: Esser et al. 2024, arXiv 2403.03206):

    q, k, v = [q_x, q_c], [k_x, k_c], [v_x, v_c]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import Attention, attend, join_heads, split_heads
from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding, sinusoids
from sumi.nn.unet import zero_init


def grid_positions(height: int, width: int, size: int) -> Tensor:
    """Embed the positions of a grid in raster order, (height·width, size): half for the row, half for the column."""
    rows, columns = (sinusoids(torch.arange(count, dtype=torch.float32) / 1000, size // 2) for count in (height, width))
    grid = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(grid, dim=-1).flatten(0, 1)


class DiTBlock(nn.Module):
    """Attention among the patches and to the context, then an MLP, both modulated and gated."""

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads, context_width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulate = nn.Linear(width, 6 * width)
        zero_init(self.modulate)

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        """Map x (B, L, width), the time embedding (B, width) and the context (B, M, context_width) to (B, L, width)."""
        change = self.modulate(F.silu(embedding))[:, None].chunk(6, dim=-1)
        scale, shift, gate, scale_mlp, shift_mlp, gate_mlp = change
        x = x + gate * self.attention(self.norm_attention(x) * (1 + scale) + shift, context)
        return x + gate_mlp * self.mlp(self.norm_mlp(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]


class JointStream(nn.Module):
    """One stream of a joint block, with its own norms, matrices and modulation.

    pre_only: the stream only gives keys and values, and is not updated.
    """

    def __init__(self, width: int, heads: int, pre_only: bool = False) -> None:
        super().__init__()
        self.heads, self.parts = heads, 2 if pre_only else 6
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.modulate = nn.Linear(width, 3 * width), nn.Linear(width, self.parts * width)
        zero_init(self.modulate)
        if not pre_only:
            self.out = nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def project(self, x: Tensor, embedding: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Project tokens (B, L, width) to q, k and v, each (B, heads, L, d); return them and the other modulations."""
        scale, shift, *rest = self.modulate(F.silu(embedding))[:, None].chunk(self.parts, dim=-1)
        qkv = self.qkv(self.norm(x) * (1 + scale) + shift).chunk(3, dim=-1)
        return [split_heads(part, self.heads) for part in qkv], tuple(rest)

    def update(self, x: Tensor, attended: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Update tokens x (B, L, width) with what attentioned (B, heads, L, d), and two layers."""
        gate, scale, shift, gate_mlp = rest
        x = x + gate * self.out(join_heads(attended))
        return x + gate_mlp * self.mlp(self.norm(x) * (1 + scale) + shift)  # type: ignore[no-any-return]


class JointBlock(nn.Module):
    """Image and text tokens in one attention, each with its own weights; the last block does not update the text."""

    def __init__(self, width: int, heads: int, last: bool) -> None:
        super().__init__()
        self.image, self.text, self.last = JointStream(width, heads), JointStream(width, heads, pre_only=last), last

    def forward(self, x: Tensor, c: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Map both streams, x (B, L, width) and c (B, M, width), given the time embedding (B, width)."""
        (of_x, rest_x), (of_c, rest_c) = self.image.project(x, embedding), self.text.project(c, embedding)
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(of_x, of_c, strict=True))
        to_x, to_c = torch.split(attend(q, k, v), [x.shape[1], c.shape[1]], dim=2)
        return self.image.update(x, to_x, rest_x), c if self.last else self.text.update(c, to_c, rest_c)


class DiT(ConfigModule):
    """A transformer over the patches of signals (B, in_channels, H, W), with H and W divisible by `patch`.

    Args:
        in_channels: channels of the signal.
        out_channels: channels of the answer.
        patch: side of a patch, in positions of the signal.
        width: width of a token; divisible by 4 and by heads.
        depth: number of blocks.
        heads: attention heads.
        concat_channels: channels of `cond.concat`.
        vector_width: width of `cond.vector`, which is added to the time embedding; 0 for none.
        context_width: width of `cond.tokens`; 0 for none.
        joint: make the tokens a second stream; `cond.tokens` is then required.

    Raises:
        ValueError: joint without a context_width, or a width that 4 or heads do not divide.
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
            raise ValueError("joint needs a context_width: the width of cond.tokens")
        if width % 4 or width % heads:
            raise ValueError(f"a width of {width} must be divisible by 4 and by the {heads} heads")
        self.patch, self.width = patch, width
        self.time = TimeEmbedding(width)
        self.vector = nn.Linear(vector_width, width) if vector_width else None
        self.proj_in = nn.Linear((in_channels + concat_channels) * patch**2, width)
        self.text_proj = nn.Linear(context_width, width) if joint else None
        blocks = (JointBlock(width, heads, last=k == depth - 1) if joint else DiTBlock(width, heads, context_width)
                  for k in range(depth))  # fmt: skip
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate, self.proj_out = nn.Linear(width, 2 * width), nn.Linear(width, out_channels * patch**2)
        zero_init(self.modulate)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, in_channels, H, W) at t (B,) in [0, 1] to the answer (B, out_channels, H, W)."""
        embedding = self.time(t)
        if self.vector is not None and cond.vector is not None:
            embedding = embedding + self.vector(cond.vector)
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        folded = F.pixel_unshuffle(x, self.patch)
        height, width = folded.shape[2:]
        h = self.proj_in(folded.flatten(2).transpose(1, 2))
        h = h + grid_positions(height, width, self.width).to(device=h.device, dtype=h.dtype)
        if self.text_proj is None:
            for block in self.blocks:
                h = block(h, embedding, cond.tokens)
        else:
            if cond.tokens is None:
                raise ValueError("a joint DiT needs cond.tokens; for no condition pass zeros")
            c = self.text_proj(cond.tokens)
            for block in self.blocks:
                h, c = block(h, c, embedding)
        scale, shift = self.modulate(F.silu(embedding))[:, None].chunk(2, dim=-1)
        out = self.proj_out(self.norm(h) * (1 + scale) + shift).transpose(1, 2).unflatten(2, (height, width))
        return F.pixel_shuffle(out, self.patch)
