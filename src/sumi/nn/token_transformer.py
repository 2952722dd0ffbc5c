"""DALL-E's network: a caption's tokens and a picture's as one stream, each predicted from those before it.

    p(text, image) = prod_i p(s_i | s_1 ... s_{i-1}),    s = start, text, image in raster order

Ramesh et al. 2021, arXiv 2102.12092, section 2.2 and appendix B.1: the picture's positions are the sum of a row's
and a column's embedding, every text position has a padding token of its own, and layers differ in their layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.attention_masks import dalle_layouts, layout_mask
from sumi.nn.causal import CausalTransformer, Past, past_length


class TokenTransformer(nn.Module):
    """Text ids (B, text_context), 0 = padding, then image ids (B, side^2).

    text_size, image_size: how many ids of each there are. layouts: one of `LAYOUTS` a layer, by default the
    paper's. kernel: side of the convolutional layout's square, odd.
    """

    def __init__(
        self,
        text_size: int,
        text_context: int,
        image_size: int,
        side: int,
        width: int,
        depth: int,
        heads: int,
        layouts: Sequence[str] | None = None,
        kernel: int = 11,
    ) -> None:
        super().__init__()
        layouts = dalle_layouts(depth) if layouts is None else list(layouts)
        if len(layouts) != depth:
            raise ValueError(f"{depth} layers need {depth} layouts, not {len(layouts)}")
        self.config: dict[str, Any] = {
            "text_size": text_size, "text_context": text_context, "image_size": image_size, "side": side,
            "width": width, "depth": depth, "heads": heads, "layouts": layouts, "kernel": kernel,
        }  # fmt: skip
        self.text_context, self.side, self.length = text_context, side, side * side
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.text, self.image = nn.Embedding(text_size, width), nn.Embedding(image_size, width)
        self.padding = nn.Parameter(0.02 * torch.randn(text_context, width))
        self.positions = nn.Parameter(0.01 * torch.randn(text_context, width))
        self.rows = nn.Parameter(0.01 * torch.randn(side, width))
        self.columns = nn.Parameter(0.01 * torch.randn(side, width))
        masks = {name: layout_mask(name, text_context + 1, side, kernel) for name in set(layouts)}
        self.transformer = CausalTransformer(width, heads, [masks[name] for name in layouts])
        self.text_head, self.image_head = nn.Linear(width, text_size), nn.Linear(width, image_size)
        for table in (self.text, self.image):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Text (B, T) and the first n < side^2 image ids (B, n), to the logits of each and of the next one.

        Returns (B, T, text_size) and (B, n + 1, image_size).
        """
        features, _ = self._read(text, image)
        return self.text_head(features[:, : self.text_context]), self.image_head(features[:, self.text_context :])

    def begin(self, cond: Tensor, known: Tensor) -> tuple[Tensor, Past]:
        """Text ids (B, T) and known image ids (B, n), to the logits (B, image_size) of the next and the past."""
        features, past = self._read(cond, known)
        return self.image_head(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """One more image id (B,), to the logits (B, image_size) of the one after it."""
        place = past_length(past) - self.text_context - 1
        features, past = self.transformer(self._image(token[:, None], place), past)
        return self.image_head(features[:, -1]), past

    def _read(self, text: Tensor, image: Tensor) -> tuple[Tensor, Past]:
        if text.shape[1] != self.text_context or image.shape[1] >= self.length:
            raise ValueError(f"expected {self.text_context} text ids and fewer than {self.length} image ids")
        words = torch.where(text[:, :, None] > 0, self.text(text.long()), self.padding) + self.positions
        stream = [self.start.expand(len(text), 1, -1), words, self._image(image, 0)]
        return self.transformer(torch.cat(stream, dim=1))  # type: ignore[no-any-return]

    def _image(self, ids: Tensor, place: int) -> Tensor:
        """Image ids (B, n) that begin at `place` of the raster, embedded (B, n, width)."""
        at = torch.arange(place, place + ids.shape[1], device=ids.device)
        return self.image(ids.long()) + self.rows[at // self.side] + self.columns[at % self.side]  # type: ignore[no-any-return]
