"""Masked pictures, which an inpainting model learns to fill.

[x keep, keep],    keep = 1 outside the hole, 0 inside; all zeros show nothing
"""

from __future__ import annotations

import torch
from torch import Tensor

from sumi.errors import SumiError

__all__ = ["check_hole", "mask_out", "random_masks"]


def mask_out(x: Tensor, keep: Tensor) -> Tensor:
    """Return the masked x (B, C, S, S) and the mask, (B, C + 1, S, S); keep (B or 1, 1, S, S) is 1 where x is kept."""
    return torch.cat([x * keep, keep.expand(len(x), -1, -1, -1)], dim=1)


def random_masks(count: int, side: int, rng: torch.Generator) -> Tensor:
    """Return masks with random rectangular holes, keep (count, 1, side, side); corners are uniform."""
    ends = torch.rand(count, 2, 2, generator=rng, device=rng.device).sort(dim=2).values * side
    places = torch.arange(side, device=rng.device) + 0.5
    down, across = ((places >= ends[:, axis, :1]) & (places < ends[:, axis, 1:]) for axis in (0, 1))
    return 1 - (down[:, :, None] & across[:, None, :]).float()[:, None]


def check_hole(picture: Tensor, redraw: Tensor, size_px: int) -> None:
    """Raise SumiError unless picture is (4, size_px, size_px) and redraw (size_px, size_px), True somewhere."""
    sides = (size_px, size_px)
    if picture.shape != (4, *sides) or redraw.shape != sides:
        found = " and ".join(" x ".join(map(str, given.shape)) for given in (picture, redraw))
        raise SumiError(
            f"at {size_px} px a picture is 4 x {size_px} x {size_px} and its mask as wide: these are {found}"
        )
    if not redraw.any():
        raise SumiError("the mask covers nothing: it should be True where to draw anew")
