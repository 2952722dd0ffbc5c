"""Many pictures on one page, each over a checkerboard where it is transparent, with its caption below."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sumi.imaging.pixels import to_image

__all__ = ["checkerboard", "contact_sheet", "on_checkerboard"]

Color = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

FONT_PX, LINE_PX, FRAME_PX = 10, 12, 3
INK: Color = (40, 40, 40)


def contact_sheet(
    pictures: Tensor | Sequence[Image.Image],
    captions: Sequence[str] = (),
    columns: int | None = None,
    cell_px: int | None = None,
    frames: Sequence[Color | None] = (),
    gap_px: int = 8,
) -> Image.Image:
    """Return a page of pictures in rows, RGB.

    Args:
        pictures: images of any size, or premultiplied uint8 (B, 4, H, W).
        captions: one for each picture, or none at all; lines are kept, and long ones are wrapped.
        columns: pictures a row; by default the page is about square.
        cell_px: the side that every picture is scaled to, pixel by pixel; by default its own.
        frames: for each picture the colour of its frame and of the last line of its caption, or None.
        gap_px: the white space between pictures.
    """
    images = [to_image(levels) for levels in pictures] if isinstance(pictures, Tensor) else list(pictures)
    if cell_px is not None:
        images = [image.resize((cell_px, cell_px), Image.Resampling.NEAREST) for image in images]
    columns = min(len(images), columns or math.ceil(math.sqrt(len(images))))
    width, height = (max((image.size[axis] for image in images), default=0) for axis in (0, 1))
    font = ImageFont.load_default(FONT_PX)
    texts = [_wrap(caption, font, width) for caption in captions]
    caption_px = LINE_PX * max(map(len, texts), default=0)
    step_x, step_y = width + gap_px, height + caption_px + gap_px
    rows = math.ceil(len(images) / columns) if images else 0
    page = Image.new("RGB", (gap_px + columns * step_x, gap_px + rows * step_y), "white")
    pen = ImageDraw.Draw(page)
    for number, image in enumerate(images):
        x, y = gap_px + number % columns * step_x, gap_px + number // columns * step_y
        frame = frames[number] if frames else None
        if frame is not None:
            corners = (x - FRAME_PX, y - FRAME_PX, x + image.width + FRAME_PX - 1, y + image.height + FRAME_PX - 1)
            pen.rectangle(corners, fill=frame)
        page.paste(on_checkerboard(image), (x, y))
        lines = texts[number] if texts else []
        for depth, line in enumerate(lines):
            color = frame if frame is not None and depth == len(lines) - 1 else INK
            pen.text((x, y + height + 2 + depth * LINE_PX), line, fill=color, font=font)
    return page


def on_checkerboard(image: Image.Image) -> Image.Image:
    """Return an image as RGB, over a checkerboard where it is transparent."""
    board = checkerboard(*image.size)
    board.paste(image.convert("RGB"), mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return board


def checkerboard(width: int, height: int, square_px: int = 8) -> Image.Image:
    """Return the pattern that means 'transparent', RGB."""
    rows, columns = np.arange(height)[:, None] // square_px, np.arange(width)[None] // square_px
    gray = np.where((rows + columns) % 2, 235, 250).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word that is longer has a line of its own."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines.append("")
        for word in paragraph.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and font.getlength(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
    return lines
