"""A decoder of two parts: a dense draft, and an isotropic ConvNeXt that refines it.

    draft = mean of x given z_i and the caption
    h_0 = W [y / r, draft / d] + position,     h <- h + B silu(A (n + depthwise n) + C c),     n = norm(h)
    c = time(t) + U [z_i, z_t] + pool(tokens)

A block is a ConvNeXt's (Liu et al. 2022, arXiv 2201.03545): a 3 x 3 convolution of each channel by itself mixes
neighbours, and an MLP mixes the channels of one position. Isotropic: the canvas keeps its size throughout, as the
squares of a vision transformer do. Each position sees its neighbours, and after `side` blocks all others.

The draft does not look at x_t, so it can be learned first, by regression, at a twentieth of the cost of a step of the
whole (predict and refine: Whang et al. 2022, arXiv 2112.02475). Diffusion then says what it leaves open. With d the
deviations of the latents, y = x_t - (1 - t) draft on the flow schedule x_t = (1 - t) x + t eps, and r^2 = (1 - t)^2 d^2
+ t^2,

    x = draft + (1 - t) d^2 / r^2 y + t d / r answer,

which is EDM's preconditioning (Karras et al. 2022, arXiv 2206.00364, eq. 7) of x - draft, for each channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.dense import AttentionPool, DenseDraft
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.unet import zero_init

EXPANSION = 2


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and an MLP with the condition added between its two matrices, as one residual layer."""

    def __init__(self, width: int, cond_width: int) -> None:
        super().__init__()
        self.norm, self.depthwise = nn.LayerNorm(width), nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.proj_in, self.proj_out = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)
        self.cond_proj = nn.Linear(cond_width, EXPANSION * width, bias=False)
        zero_init(self.proj_out)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map h (B, H, W, width) and the condition c (B, cond_width) to (B, H, W, width)."""
        n = self.norm(h)
        n = n + self.depthwise(n.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        inner = F.silu(self.proj_in(n) + self.cond_proj(c)[:, None, None])
        return h + self.proj_out(inner)  # type: ignore[no-any-return]


class ConvNeXtDecoder(ConfigModule):
    """A decoder conditioned on `cond.vector` [z_i, z_t] (B, vector_width) and `cond.tokens` (B, L, token_width).

    It answers with x, on the flow schedule.

    Args:
        channels: channels of the canvas.
        side: side of the canvas.
        vector_width: width of the concatenated embeddings.
        token_width: width of the caption's features.
        width: width of the blocks.
        depth: number of blocks.
        draft: width and number of blocks of the `DenseDraft`.
        deviations: standard deviation of each channel of the canvas; None for 1.
        cond_width: width of the condition inside the network.
        num_queries: queries of the `AttentionPool` over the tokens.
    """

    def __init__(
        self, channels: int, side: int, vector_width: int, token_width: int, width: int, depth: int,
        draft: Sequence[int] = (512, 2), deviations: Sequence[float] | None = None, cond_width: int = 384,
        num_queries: int = 6,
    ) -> None:  # fmt: skip
        super().__init__()
        inputs = (channels, side, vector_width, token_width)
        self.draft = DenseDraft(*inputs, draft[0], draft[1], deviations, cond_width, num_queries)
        self.deviations = torch.tensor(list(deviations or [1.0] * channels))[:, None, None]
        self.time, self.vector = TimeEmbedding(cond_width), nn.Linear(vector_width, cond_width)
        self.text_pool = AttentionPool(token_width, num_queries, cond_width)
        self.proj_in, self.position = nn.Linear(2 * channels, width), nn.Parameter(torch.zeros(side, side, width))
        self.cond_proj = nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width, cond_width) for _ in range(depth))
        self.norm, self.proj_out = nn.LayerNorm(width), nn.Linear(width, channels)
        zero_init(self.proj_out)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, channels, side, side) at t (B,) to x, of the same shape."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the decoder needs cond.vector and cond.tokens; for no condition pass zeros")
        d, noise = self.deviations.to(x), t[:, None, None, None]
        signal = 1 - noise
        r = ((signal * d) ** 2 + noise**2).sqrt()
        draft: Tensor = self.draft(cond)
        y = x - signal * draft
        return draft + signal * (d / r) ** 2 * y + noise * d / r * self._answer(y / r, draft / d, t, cond)

    def _answer(self, y: Tensor, draft: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """What diffusion adds, from what x_t has beyond the draft, at unit variance."""
        assert cond.vector is not None and cond.tokens is not None
        vector = cond.vector * self.config["vector_width"] ** 0.5  # the entries of unit vectors are small
        c = F.silu(self.time(t) + self.vector(vector) + self.text_pool(cond.tokens))
        h = (
            self.proj_in(torch.cat([y, draft], dim=1).permute(0, 2, 3, 1))
            + self.position
            + self.cond_proj(c)[:, None, None]
        )
        for block in self.blocks:
            h = block(h, c)
        return self.proj_out(self.norm(h)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]
