"""Contact sheets: where pictures, captions and frames lie on the page."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sumi.imaging.contact_sheet import LINE_PX, checkerboard, contact_sheet, on_checkerboard

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 128, 0)


def test_contact_sheet_lays_images_in_rows_and_shows_transparency_as_a_board() -> None:
    images = [Image.new("RGBA", (10, 10)), Image.new("RGB", (10, 10), RED), Image.new("RGBA", (10, 10), BLUE)]
    page = contact_sheet(images, gap_px=2)
    assert page.size == (26, 26) and page.mode == "RGB"
    assert page.getpixel((2, 2)) == checkerboard(10, 10).getpixel((0, 0))
    assert page.getpixel((15, 5)) == RED
    assert page.getpixel((5, 15)) == BLUE


def test_contact_sheet_takes_tensors_and_scales_them_by_pixels() -> None:
    levels = torch.zeros(2, 4, 2, 2, dtype=torch.uint8)
    levels[1, :, 0, 0] = torch.tensor([255, 0, 0, 255])
    page = contact_sheet(levels, columns=5, cell_px=8, gap_px=2)
    assert page.size == (2 + 2 * 10, 12)
    assert page.getpixel((12, 2)) == page.getpixel((15, 5)) == RED != page.getpixel((16, 6))


def test_contact_sheet_wraps_captions_and_keeps_their_lines() -> None:
    image = Image.new("RGB", (60, 10))
    heights = [contact_sheet([image], [text]).height for text in ("a", "a\nb", "a fox beside a very old tree")]
    assert heights[1] - heights[0] == LINE_PX and heights[2] >= heights[1]


def test_contact_sheet_draws_a_frame_and_the_last_line_in_its_color() -> None:
    page = contact_sheet([Image.new("RGB", (40, 10), RED)] * 2, ["I\nI"] * 2, columns=2, frames=[GREEN, None])
    assert page.getpixel((7, 12)) == GREEN and page.getpixel((8 + 40 + 7, 12)) == (255, 255, 255)
    framed, plain = (np.asarray(page.crop((x, 20, x + 40, page.height))).reshape(-1, 3).astype(int) for x in (8, 56))
    assert is_gray(framed).any() and (is_gray(framed) | is_green(framed)).all() and is_green(framed).any()
    assert is_gray(plain).all()


def is_gray(pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (np.ptp(pixels, axis=1) == 0) & (pixels[:, 0] > 0)


def is_green(pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (pixels[:, 1] > pixels[:, 0]) & (pixels[:, 0] == pixels[:, 2])


def test_contact_sheet_of_nothing_is_a_blank_page() -> None:
    assert set(contact_sheet([]).get_flattened_data()) == {(255, 255, 255)}


def test_on_checkerboard_keeps_opaque_pixels() -> None:
    assert on_checkerboard(Image.new("RGBA", (3, 3), RED)).getpixel((1, 1)) == RED
