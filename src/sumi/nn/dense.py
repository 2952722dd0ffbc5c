"""A decoder of a small canvas of latents: dense layers draw a draft, and convolutions refine it.

    c = time(t) + U [z_i, z_t] + pool(tokens),     pool: attention over the tokens for learned queries
    h_0 = W x_t + V c,     h_{k+1} = h_k + B_k silu(A_k norm(h_k) + C_k c),     draft = W' norm(h_K)
    answer = draft + refine([x_t, draft], c)

A weight of a 3 x 3 convolution is used 64 times on an 8 x 8 canvas, a dense weight once. Where images are few, centred
and alike, and arithmetic is scarce, dense layers learn the positions, and a few convolutions then clean the surfaces.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.unet import ResBlock, norm, to_channels_last, zero_init


class DenseBlock(nn.Module):
    """A residual layer with the condition added between its two matrices."""

    def __init__(self, width: int, cond_width: int) -> None:
        super().__init__()
        self.norm, self.proj_in = nn.LayerNorm(width), nn.Linear(width, width)
        self.cond_proj, self.proj_out = nn.Linear(cond_width, width, bias=False), nn.Linear(width, width)
        zero_init(self.proj_out)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map h (B, width) and the condition c (B, cond_width) to (B, width)."""
        return h + self.proj_out(F.silu(self.proj_in(self.norm(h)) + self.cond_proj(c)))  # type: ignore[no-any-return]


class AttentionPool(nn.Module):
    """Pool tokens into one vector by attention: each learned query attends to all tokens."""

    def __init__(self, token_width: int, num_queries: int, out_width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, token_width) * token_width**-0.5)
        self.proj_out = nn.Linear(num_queries * token_width, out_width)

    def forward(self, words: Tensor) -> Tensor:
        """Map tokens (B, L, token_width) to (B, out_width)."""
        attention = (words @ self.queries.to(words.dtype).T).transpose(1, 2).float().softmax(-1)
        return self.proj_out((attention.to(words.dtype) @ words).flatten(1))  # type: ignore[no-any-return]


class ConvRefiner(nn.Module):
    """Residual convolutions over [x_t, draft] that predict a correction of the draft, zero at first."""

    def __init__(self, channels: int, width: int, blocks: int, cond_width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(width, width, cond_width) for _ in range(blocks))
        last_layer = nn.Conv2d(width, channels, 3, padding=1)
        zero_init(last_layer)
        self.conv_out = nn.Sequential(norm(width), nn.SiLU(), last_layer)
        to_channels_last(self)

    def forward(self, x: Tensor, draft: Tensor, c: Tensor) -> Tensor:
        """Map x_t and the draft (B, C, H, W), given the condition c (B, cond_width), to a correction of the draft."""
        h = self.conv_in(torch.cat([x.to(draft.dtype), draft], dim=1).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            h = block(h, c)
        return self.conv_out(h)  # type: ignore[no-any-return]


class DenseDecoder(ConfigModule):
    """A decoder conditioned on `cond.vector` [z_i, z_t] (B, vector_width) and `cond.tokens` (B, L, token_width).

    Args:
        channels: channels of the canvas.
        side: side of the canvas.
        vector_width: width of the concatenated embeddings.
        token_width: width of the caption's features.
        width: width of the dense blocks.
        depth: number of dense blocks.
        cond_width: width of the condition inside the network.
        num_queries: queries of the `AttentionPool` over the tokens.
        refiner: width and number of residual blocks of the `ConvRefiner`.
    """

    def __init__(
        self, channels: int, side: int, vector_width: int, token_width: int, width: int, depth: int,
        cond_width: int = 384, num_queries: int = 6, refiner: tuple[int, int] = (64, 2),
    ) -> None:  # fmt: skip
        super().__init__()
        self.canvas = (channels, side, side)
        size = channels * side * side
        self.time, self.vector = TimeEmbedding(cond_width), nn.Linear(vector_width, cond_width)
        self.text_pool = AttentionPool(token_width, num_queries, cond_width)
        self.proj_in, self.cond_proj = nn.Linear(size, width), nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, cond_width) for _ in range(depth))
        self.norm, self.proj_out = nn.LayerNorm(width), nn.Linear(width, size)
        self.refine = ConvRefiner(channels, *refiner, cond_width)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, channels, side, side) at t (B,) to the answer, of the same shape."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the decoder needs cond.vector and cond.tokens; for no condition pass zeros")
        vector = cond.vector * self.config["vector_width"] ** 0.5  # the entries of unit vectors are small
        c = self.time(t) + (self.vector(vector) + self.text_pool(cond.tokens))
        c_active = F.silu(c)
        h = self.proj_in(x.flatten(1)) + self.cond_proj(c_active)
        for block in self.blocks:
            h = block(h, c_active)
        draft = self.proj_out(self.norm(h)).unflatten(1, self.canvas)
        return draft + self.refine(x, draft, c)  # type: ignore[no-any-return]


class DenseDraft(ConfigModule):
    """The mean picture of a condition `cond.vector` [z_i, z_t] (B, vector_width) and `cond.tokens` (B, L, token_width).

    Args:
        channels: channels of the canvas.
        side: side of the canvas.
        vector_width: width of the concatenated embeddings.
        token_width: width of the caption's features.
        width: width of the dense blocks.
        depth: number of dense blocks.
        deviations: standard deviation of each channel of the canvas, at which the answer begins; None for 1.
        cond_width: width of the condition inside the network.
        num_queries: queries of the `AttentionPool` over the tokens.
    """

    def __init__(
        self, channels: int, side: int, vector_width: int, token_width: int, width: int, depth: int,
        deviations: Sequence[float] | None = None, cond_width: int = 384, num_queries: int = 6,
    ) -> None:  # fmt: skip
        super().__init__()
        self.canvas = (channels, side, side)
        self.deviations = torch.tensor(list(deviations or [1.0] * channels))[:, None, None]
        self.vector = nn.Linear(vector_width, cond_width)
        self.text_pool = AttentionPool(token_width, num_queries, cond_width)
        self.proj_in = nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, cond_width) for _ in range(depth))
        self.norm, self.proj_out = nn.LayerNorm(width), nn.Linear(width, channels * side**2)
        zero_init(self.proj_out)

    def forward(self, cond: Cond) -> Tensor:
        """Return the mean picture (B, channels, side, side) of each condition."""
        assert cond.vector is not None and cond.tokens is not None
        vector = cond.vector * self.config["vector_width"] ** 0.5  # the entries of unit vectors are small
        c = F.silu(self.vector(vector) + self.text_pool(cond.tokens))
        h = self.proj_in(c)
        for block in self.blocks:
            h = block(h, c)
        answer = self.proj_out(self.norm(h)).unflatten(1, self.canvas)
        return answer.to(cond.vector.dtype) * self.deviations.to(answer)  # type: ignore[no-any-return]
