"""Who may look at whom in a stream of text tokens followed by a picture's tokens in raster order.

DALL-E's sparse attention (Ramesh et al. 2021, arXiv 2102.12092, appendix B.1 and figure 11). Text sees the text
before it; a picture's token sees all the text, itself, and of the d-th token before it in a grid of side s:

    full            every d >= 0
    row             d <= s                                 back to the token above it
    column          d = 0 (mod s)                          the tokens above it
    convolutional   |d - r s| <= (k - 1)/2 for some r <= (k - 1)/2      the past half of a k x k square

Rows and squares wrap around the edges of the grid, as they do there.
"""

from __future__ import annotations

import torch
from torch import Tensor

LAYOUTS = ("full", "row", "column", "convolutional")


def dalle_layouts(depth: int) -> list[str]:
    """The paper's layout of each layer: row, column, row, row, and so on, the last one convolutional."""
    return ["column" if layer % 4 == 1 else "row" for layer in range(depth - 1)] + ["convolutional"]


def layout_mask(layout: str, prefix: int, side: int, kernel: int = 11) -> Tensor:
    """What each position (row) may look at (column), bool (L, L), L = prefix + side^2; `kernel` is odd."""
    place = torch.arange(side * side)
    back = place[:, None] - place[None]
    seen = back >= 0
    if layout == "row":
        seen &= back <= side
    elif layout == "column":
        seen &= back % side == 0
    elif layout == "convolutional":
        reach = (kernel - 1) // 2
        rows = torch.arange(reach + 1)[:, None, None]
        seen &= ((back - rows * side).abs() <= reach).any(dim=0)
    elif layout != "full":
        raise ValueError(f"there is no attention layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    mask = torch.zeros(prefix + len(place), prefix + len(place), dtype=torch.bool)
    mask[:prefix, :prefix] = torch.ones(prefix, prefix, dtype=torch.bool).tril()
    mask[prefix:, :prefix] = True
    mask[prefix:, prefix:] = seen
    return mask
