"""A decoder that drafts a small canvas of latents by dense layers, and goes over the draft with convolutions.

    c = time(t) + U [z_i, z_t, answers],     answers = softmax(Q K^T) V over the words, for learned questions Q
    h_0 = W x_t + V c,     h_{k+1} = h_k + B_k silu(A_k norm(h_k) + C_k c),     draft = W' norm(h_K)
    answer = draft + refine([x_t, draft], c)

Convolutions share their weights over positions and pay for it with arithmetic: a weight of a 3 x 3 convolution is
used 64 times on an 8 x 8 canvas, a dense weight once. Where pictures are few, centred and alike, and arithmetic is
what there is least of, the dense layers find what stands where; a few convolutions then clean its surfaces.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.unet import ResBlock, norm, zero_init


class DenseBlock(nn.Module):
    """A residual layer told the condition between its two matrices."""

    def __init__(self, width: int, cond_width: int) -> None:
        super().__init__()
        self.norm, self.into = nn.LayerNorm(width), nn.Linear(width, width)
        self.told, self.out = nn.Linear(cond_width, width, bias=False), nn.Linear(width, width)
        zero_init(self.out)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """(B, width) and (B, cond_width) to (B, width)."""
        return h + self.out(F.silu(self.into(self.norm(h)) + self.told(c)))  # type: ignore[no-any-return]


class AttentionPool(nn.Module):
    """What words say, as one vector: learned questions, each answered by attention over the words' features."""

    def __init__(self, token_width: int, questions: int, out_width: int) -> None:
        super().__init__()
        self.questions = nn.Parameter(torch.randn(questions, token_width) * token_width**-0.5)
        self.out = nn.Linear(questions * token_width, out_width)

    def forward(self, words: Tensor) -> Tensor:
        """(B, L, token_width) to (B, out_width)."""
        attention = (words @ self.questions.to(words.dtype).T).transpose(1, 2).float().softmax(-1)
        return self.out((attention.to(words.dtype) @ words).flatten(1))  # type: ignore[no-any-return]


class ConvRefiner(nn.Module):
    """Residual convolutions over [x_t, draft] that answer a correction of the draft, at first none."""

    def __init__(self, channels: int, width: int, blocks: int, cond_width: int) -> None:
        super().__init__()
        self.mouth = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(width, width, cond_width) for _ in range(blocks))
        last_layer = nn.Conv2d(width, channels, 3, padding=1)
        zero_init(last_layer)
        self.head = nn.Sequential(norm(width), nn.SiLU(), last_layer)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, draft: Tensor, c: Tensor) -> Tensor:
        """Two canvases (B, C, H, W) to their correction."""
        h = self.mouth(torch.cat([x.to(draft.dtype), draft], dim=1).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            h = block(h, c)
        return self.head(h)  # type: ignore[no-any-return]


class DenseDecoder(nn.Module):
    """Conditioned on `cond.vector` (B, vector_width), [z_i, z_t], and `cond.tokens` (B, L, token_width), words.

    Zeros in either say nothing. channels, side: of the canvas. width, depth: of the dense blocks. questions: what is
    asked of the words. refiner: width and number of its blocks.
    """

    def __init__(
        self, channels: int, side: int, vector_width: int, token_width: int, width: int, depth: int,
        cond_width: int = 384, questions: int = 6, refiner: tuple[int, int] = (64, 2),
    ) -> None:  # fmt: skip
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels, "side": side, "vector_width": vector_width, "token_width": token_width,
            "width": width, "depth": depth, "cond_width": cond_width, "questions": questions,
            "refiner": list(refiner),
        }  # fmt: skip
        self.canvas = (channels, side, side)
        size = channels * side * side
        self.time, self.vector = TimeEmbedding(cond_width), nn.Linear(vector_width, cond_width)
        self.reader = AttentionPool(token_width, questions, cond_width)
        self.mouth, self.told = nn.Linear(size, width), nn.Linear(cond_width, width)
        self.blocks = nn.ModuleList(DenseBlock(width, cond_width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, size)
        self.refine = ConvRefiner(channels, *refiner, cond_width)
        zero_init(self.head)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, channels, side, side), t (B,), to the same shape."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the decoder needs cond.vector and cond.tokens; zeros mean nothing was said")
        # Two unit vectors: their entries are small.
        said = self.vector(cond.vector * self.config["vector_width"] ** 0.5) + self.reader(cond.tokens)
        c = self.time(t) + said
        spoken = F.silu(c)
        h = self.mouth(x.flatten(1)) + self.told(spoken)
        for block in self.blocks:
            h = block(h, spoken)
        draft = self.head(self.norm(h)).unflatten(1, self.canvas)
        return draft + self.refine(x, draft, c)  # type: ignore[no-any-return]
