"""An explanation as pictures: for each word a faded copy with what the word changed in vermilion, on one scale for all.

    colour(p) = ground(p) + (change(p) / peak)^GAMMA (vermilion - ground(p))

The faint stays visible because GAMMA is below 1: strength is read from the number beside it, place from the map.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sumi.imaging.contact_sheet import on_checkerboard
from sumi.imaging.pixels import from_levels, resize, to_image, to_uint8
from sumi.pipelines.explanation import Explanation, WordAttribution

__all__ = ["heat", "page"]

VERMILION = (227, 66, 52)
FADED, GAMMA = 0.3, 0.6
INK, QUIET = (30, 30, 30), (120, 120, 120)
LETTERS_PX, GAP_PX = 15, 14
LEGEND = "Red: where the picture would be another without the word. Per cent: its share of all that words change."


def heat(explanation: Explanation, word: WordAttribution, size_px: int) -> Image.Image:
    """Return where and how much a word changed the picture, RGB, over the picture faded to grey."""
    picture = from_levels(enlarged(explanation.picture, size_px)[None])[0].add(1).div(2)
    grey = picture[:3].mean(dim=0) + 1 - picture[3]  # over white
    ground = (1 - FADED * (1 - grey)).expand(3, -1, -1)
    map_ = resize((word.change / (explanation.peak or 1.0))[None, None], (size_px, size_px))[0, 0]
    strength = map_.clamp(0, 1) ** GAMMA
    colour = torch.tensor(VERMILION, dtype=torch.float32)[:, None, None] / 255
    shown = ground + strength * (colour - ground)
    return Image.fromarray(to_uint8(shown).permute(1, 2, 0).numpy())


def enlarged(levels: Tensor, size_px: int) -> Tensor:
    """Return a picture, premultiplied uint8 (4, S, S), at another size."""
    unit = resize(from_levels(levels[None]), (size_px, size_px))[0].add(1).div(2).clamp(0, 1)
    return to_uint8(torch.cat([torch.minimum(unit[:3], unit[3:]), unit[3:]]))


def page(explanation: Explanation, image: Image.Image, cell_px: int = 160, most_columns: int = 8) -> Image.Image:
    """Return a sheet: the picture, then each word's heat map over the picture that is drawn without it."""
    shown = image.convert("RGBA").resize((cell_px, cell_px), Image.Resampling.LANCZOS)
    columns: list[tuple[str, str, Image.Image, Image.Image | None]] = [("the picture", "", shown, None)]
    for word in explanation.words:
        without = to_image(enlarged(word.without, cell_px))
        columns.append((word.text, f"{word.share:.0%}", heat(explanation, word, cell_px), without))
    rows = [columns[start : start + most_columns] for start in range(0, len(columns), most_columns)]
    high = 2 * (cell_px + LETTERS_PX + GAP_PX) + GAP_PX
    size = GAP_PX + len(rows[0]) * (cell_px + GAP_PX), GAP_PX + len(rows) * high
    sheet = Image.new("RGB", size, "white")
    for number, row in enumerate(rows):
        _draw_row(sheet, row, GAP_PX + number * high, cell_px)
    place = GAP_PX, GAP_PX + 2 * LETTERS_PX + GAP_PX + cell_px
    font = ImageFont.load_default(LETTERS_PX - 2)
    legend = "\n".join(textwrap.wrap(LEGEND, int(1.9 * cell_px / LETTERS_PX)))
    ImageDraw.Draw(sheet).multiline_text(place, legend, fill=QUIET, font=font, spacing=3)
    return sheet


def _draw_row(
    sheet: Image.Image, row: Sequence[tuple[str, str, Image.Image, Image.Image | None]], top: int, cell_px: int
) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS_PX)
    for number, (name, share, first, second) in enumerate(row):
        left = GAP_PX + number * (cell_px + GAP_PX)
        pen.text((left, top), _fitted(name, font, cell_px - 40), fill=INK, font=font)
        pen.text((left + cell_px, top), share, fill=VERMILION, font=font, anchor="ra")
        for depth, image in enumerate(filter(None, (first, second))):
            y = top + LETTERS_PX + 6 + depth * (cell_px + LETTERS_PX + GAP_PX)
            if depth:
                pen.text((left, y - LETTERS_PX - 5), "without it", fill=QUIET, font=font)
            sheet.paste(on_checkerboard(image), (left, y))


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a word that is too wide to stand over its map."""
    while len(text) > 1 and font.getlength(text) > width:
        text = text.removesuffix("…")[:-1] + "…"
    return text
