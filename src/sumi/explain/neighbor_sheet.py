"""The nearest drawings as one picture: what was drawn, and beside it what it might have been copied from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from sumi.explain.nearest_drawings import aligned
from sumi.imaging.pixels import checkerboard, premultiplied, to_image
from sumi.pipelines.explanation import Neighbor

__all__ = ["neighbor_sheet"]

GAP_PX, LETTERS_PX = 14, 13
INK, QUIET, MARK = (30, 30, 30), (120, 120, 120), (227, 66, 52)


def neighbor_sheet(image: Image.Image, found: Sequence[Neighbor], cell_px: int = 132) -> Image.Image:
    """Return a row: the picture, cut as it was compared, then each drawing with its figures and whose it is."""
    font = ImageFont.load_default(LETTERS_PX)
    closest = min((near.distance for near in found), default=0.0)
    size = GAP_PX + (len(found) + 1) * (cell_px + GAP_PX), cell_px + 2 * GAP_PX + 6 * (LETTERS_PX + 4)
    page = Image.new("RGB", size, "white")
    pen, board = ImageDraw.Draw(page), checkerboard(cell_px, cell_px)
    columns = [(to_image(aligned(premultiplied(image), cell_px)), ["the picture"], False)]
    columns += [(_large(near, cell_px), _said(near), near.distance == closest) for near in found]
    for number, (shown, lines, nearest) in enumerate(columns):
        left = GAP_PX + number * (cell_px + GAP_PX)
        page.paste(board, (left, GAP_PX))
        page.paste(shown.convert("RGB"), (left, GAP_PX), shown.getchannel("A"))
        if nearest:
            pen.rectangle((left - 3, GAP_PX - 3, left + cell_px + 2, GAP_PX + cell_px + 2), outline=MARK, width=2)
        for depth, line in enumerate(lines):
            colour = INK if not depth else MARK if nearest and line.startswith("distance") else QUIET
            pen.text((left, GAP_PX + cell_px + 6 + depth * (LETTERS_PX + 4)), line, fill=colour, font=font)
    return page


def _large(near: Neighbor, size_px: int) -> Image.Image:
    return to_image(near.picture).resize((size_px, size_px), Image.Resampling.BICUBIC)


def _said(near: Neighbor) -> list[str]:
    row = near.row
    names = textwrap.wrap(", ".join(filter(None, (row["concept"], row["person"]))), 20)[:2]
    return [*names, f"distance {near.distance:.3f}", f"cosine {near.cosine:.3f}", row["author"][:20], row["licence"]]
