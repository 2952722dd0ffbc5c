"""DALL-E's network: text tokens and image tokens in one sequence, each predicted from those before it.

    p(text, image) = prod_i p(s_i | s_1 ... s_{i-1}),    s = start, text, image in raster order

Ramesh et al. 2021, arXiv 2102.12092, sec. 2.2 and appendix B.1: an image position is the sum of a row and a column
embedding, every text position has a padding token of its own, and the layers have different sparse attention masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sumi.nn.attention_masks import attention_mask, dalle_patterns
from sumi.nn.causal import CausalTransformer, Past, past_length
from sumi.nn.config_module import ConfigModule


class TokenTransformer(ConfigModule):
    """A transformer over text ids (B, text_context), 0 = padding, followed by image ids (B, side^2).

    Args:
        text_size: number of text ids.
        text_context: text tokens of a sequence.
        image_size: number of image ids.
        side: side of the grid of image tokens.
        width: width of the transformer.
        depth: layers.
        heads: attention heads; they divide the width.
        patterns: one of `ATTENTION_PATTERNS` per layer; by default the paper's.
        kernel: side of the convolutional pattern's square, odd.

    Raises:
        ValueError: there is not one pattern per layer.
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
        patterns: Sequence[str] | None = None,
        kernel: int = 11,
    ) -> None:
        super().__init__()
        patterns = dalle_patterns(depth) if patterns is None else list(patterns)
        if len(patterns) != depth:
            raise ValueError(f"{depth} layers need {depth} patterns, not {len(patterns)}")
        self.config["patterns"] = patterns
        self.text_context, self.side, self.length = text_context, side, side * side
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.text, self.image = nn.Embedding(text_size, width), nn.Embedding(image_size, width)
        self.padding = nn.Parameter(0.02 * torch.randn(text_context, width))
        self.positions = nn.Parameter(0.01 * torch.randn(text_context, width))
        self.rows = nn.Parameter(0.01 * torch.randn(side, width))
        self.columns = nn.Parameter(0.01 * torch.randn(side, width))
        masks = {name: attention_mask(name, text_context + 1, side, kernel) for name in set(patterns)}
        self.transformer = CausalTransformer(width, heads, [masks[name] for name in patterns])
        self.text_head, self.image_head = nn.Linear(width, text_size), nn.Linear(width, image_size)
        for table in (self.text, self.image):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits of every token and of the next image token.

        Args:
            text: text ids (B, text_context).
            image: the first n < side^2 image ids (B, n).

        Returns:
            Logits of the text (B, text_context, text_size) and of the image (B, n + 1, image_size).
        """
        features, _ = self._read(text, image)
        return self.text_head(features[:, : self.text_context]), self.image_head(features[:, self.text_context :])

    def begin(self, cond: Tensor, known: Tensor) -> tuple[Tensor, Past]:
        """Compute the logits (B, image_size) of the image id after text ids `cond` and `known` (B, n), and the past."""
        features, past = self._read(cond, known)
        return self.image_head(features[:, -1]), past

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """Append an image id (B,); compute the logits (B, image_size) of the one after it, and the past."""
        place = past_length(past) - self.text_context - 1
        features, past = self.transformer(self._embed_image(token[:, None], place), past)
        return self.image_head(features[:, -1]), past

    def _read(self, text: Tensor, image: Tensor) -> tuple[Tensor, Past]:
        if text.shape[1] != self.text_context or image.shape[1] >= self.length:
            raise ValueError(f"expected {self.text_context} text ids and fewer than {self.length} image ids")
        words = torch.where(text[:, :, None] > 0, self.text(text.long()), self.padding) + self.positions
        sequence = [self.start.expand(len(text), 1, -1), words, self._embed_image(image, 0)]
        return self.transformer(torch.cat(sequence, dim=1))  # type: ignore[no-any-return]

    def _embed_image(self, ids: Tensor, place: int) -> Tensor:
        """Embed image ids (B, n) whose first is at position `place` of the raster, to (B, n, width)."""
        at = torch.arange(place, place + ids.shape[1], device=ids.device)
        return self.image(ids.long()) + self.rows[at // self.side] + self.columns[at % self.side]  # type: ignore[no-any-return]
