"""The sparse attention masks of DALL-E, for text tokens followed by image tokens in raster order.

Ramesh et al. 2021, arXiv 2102.12092, appendix B.1 and figure 11. A text token attends to the text up to itself. An
image token attends to all the text and, in a grid of side s, to the d-th token before it where

    full            every d >= 0
    row             d <= s                                 back to the token above it
    column          d = 0 (mod s)                          the tokens above it
    convolutional   |d - r s| <= (k - 1)/2 for some r <= (k - 1)/2      the past half of a k x k square

Rows and squares wrap around the edges of the grid, as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

ATTENTION_PATTERNS = ("full", "row", "column", "convolutional")


def dalle_patterns(depth: int) -> list[str]:
    """List the paper's pattern of each of `depth` layers: row, column, row, row, and so on, the last convolutional."""
    return ["column" if layer % 4 == 1 else "row" for layer in range(depth - 1)] + ["convolutional"]


def attention_mask(pattern: str, prefix: int, side: int, kernel: int = 11) -> Tensor:
    """Make the mask of a pattern.

    Args:
        pattern: one of ATTENTION_PATTERNS.
        prefix: number of text tokens.
        side: side of the grid of image tokens.
        kernel: side of the convolutional pattern's square, odd.

    Returns:
        Bool (L, L) with L = prefix + side^2; [i, j] is True where position i may attend to position j.

    Raises:
        ValueError: there is no such pattern.
    """
    place = torch.arange(side * side)
    back = place[:, None] - place[None]
    visible = back >= 0
    if pattern == "row":
        visible &= back <= side
    elif pattern == "column":
        visible &= back % side == 0
    elif pattern == "convolutional":
        reach = (kernel - 1) // 2
        rows = torch.arange(reach + 1)[:, None, None]
        visible &= ((back - rows * side).abs() <= reach).any(dim=0)
    elif pattern != "full":
        raise ValueError(f"there is no attention pattern {pattern!r}; choose from {', '.join(ATTENTION_PATTERNS)}")
    mask = torch.zeros(prefix + len(place), prefix + len(place), dtype=torch.bool)
    mask[:prefix, :prefix] = torch.ones(prefix, prefix, dtype=torch.bool).tril()
    mask[prefix:, :prefix] = True
    mask[prefix:, prefix:] = visible
    return mask
