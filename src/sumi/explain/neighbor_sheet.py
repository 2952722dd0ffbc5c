"""A picture beside the training drawings nearest to it, so that a person can see whether it is a copy."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from sumi.explain.nearest_drawings import aligned
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import premultiply, to_image
from sumi.pipelines.explanation import Neighbor

__all__ = ["neighbor_sheet"]

VERMILION = (227, 66, 52)


def neighbor_sheet(image: Image.Image, found: Sequence[Neighbor], cell_px: int = 132) -> Image.Image:
    """Return a row of pictures; the drawing with the least distance has a vermilion frame.

    Args:
        image: the picture, which is cut to what is visible, as the comparison does.
        found: the drawings to show beside it, each with its distance, its author and its licence.
        cell_px: the side of each.
    """
    closest = min((near.distance for near in found), default=0.0)
    pictures = [to_image(aligned(premultiply(image), cell_px))]
    pictures += [to_image(near.picture).resize((cell_px, cell_px), Image.Resampling.BICUBIC) for near in found]
    captions = ["the picture", *map(_caption, found)]
    frames = [None, *(VERMILION if near.distance == closest else None for near in found)]
    return contact_sheet(pictures, captions, len(pictures), frames=frames, gap_px=14)


def _caption(near: Neighbor) -> str:
    row = near.row
    name = ", ".join(filter(None, (row["concept"], row["person"])))
    figures = f"cosine {near.cosine:.3f}", f"distance {near.distance:.3f}"
    return "\n".join([name, f"{row['author']}, {row['licence']}", *figures])
