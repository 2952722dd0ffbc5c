"""Contact sheets: pictures with their captions under them, on a checkerboard where they are transparent."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sumi.atomic_file import write_atomic_png
from sumi.data.generator import Scenes

_LINE_PX = 12


def on_checkerboard(picture: NDArray[np.uint8], square_px: int = 8) -> NDArray[np.uint8]:
    """Premultiplied uint8 (4, H, W) over light squares: uint8 (H, W, 3)."""
    _, height, width = picture.shape
    y, x = np.mgrid[:height, :width] // square_px
    ground = np.where((x + y) % 2 == 0, 255, 232).astype(np.float32)[..., None]
    wide = picture.transpose(1, 2, 0).astype(np.float32)
    over = wide[..., :3] + ground * (1 - wide[..., 3:] / 255)
    return over.round().clip(0, 255).astype(np.uint8)


def contact_sheet(
    pictures: Tensor, captions: Sequence[str], columns: int = 8, cell_px: int | None = None
) -> Image.Image:
    """Pictures uint8 (B, 4, S, S) in a grid, each over its caption, shown at `cell_px` (None: their own)."""
    size_px = pictures.shape[-1]
    shown = cell_px or size_px
    font = ImageFont.load_default(size=10)
    lines = [textwrap.wrap(text, max(8, shown // 5)) for text in captions]
    deepest = max((len(wrapped) for wrapped in lines), default=0)
    pad, rows = 6, -(-len(captions) // columns)
    step_x, step_y = shown + pad, shown + pad + _LINE_PX * deepest + 4
    sheet = Image.new("RGB", (columns * step_x + pad, rows * step_y + pad), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, wrapped) in enumerate(zip(pictures, lines, strict=True)):
        x, y = pad + number % columns * step_x, pad + number // columns * step_y
        cell = Image.fromarray(on_checkerboard(picture.cpu().numpy(), max(4, size_px // 16)))
        sheet.paste(cell.resize((shown, shown), Image.Resampling.NEAREST), (x, y))
        for depth, text in enumerate(wrapped):
            draw.text((x, y + shown + 2 + depth * _LINE_PX), text, fill=(40, 40, 40), font=font)
    return sheet


def preview(
    scenes: Scenes, path: str | Path, count: int = 64, start: int = 0, size_px: int = 128, columns: int = 8
) -> Path:
    """Write a contact sheet of `count` scenes from number `start` on as a PNG; returns its path."""
    _, captions, pictures = scenes.batch(start, count, size_px)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_atomic_png(target, contact_sheet(pictures, captions, columns))
