"""Drawings of a thing that no model was taught: a creature with one eye, two feelers, stripes and two teeth.

Every drawing is rendered from shapes, so anybody has the same ones, in any number. The relatives differ from it by one
part: a classifier that knows the thing has to look at all of them.
"""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

PX, SCALE = 256, 2
RELATIVES = ("two eyes", "no feelers", "no stripes", "square")
RGB = tuple[int, int, int]
OWN_HUE = 0.47


def draw_creature(rng: random.Random, hue: float | None = None, relative: str = "") -> Image.Image:
    """Return one drawing, RGBA of 256 px, its background transparent.

    Args:
        rng: of its pose and its proportions.
        hue: of its body, 0 to 1; by default the thing's own, with a little spread.
        relative: the part that is different, one of `RELATIVES`, or "" for the thing itself.
    """
    side = PX * SCALE
    page = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(page)
    hue = (OWN_HUE + rng.uniform(-0.03, 0.03)) % 1.0 if hue is None else hue
    body, dark = colour(hue, 0.75, 0.85), colour(hue, 0.85, 0.5)
    wide, high = side * rng.uniform(0.24, 0.3), side * rng.uniform(0.25, 0.31)
    x, y = side * 0.5, side * 0.58
    line = round(side * 0.022)
    for foot in (-1, 1):
        place = x + foot * wide * 0.5, y + high * rng.uniform(0.95, 1.05)
        pen.ellipse(box(*place, wide * 0.34, high * 0.17), fill=dark)
    if relative != "no feelers":
        for feeler in (-1, 1):
            lean = rng.uniform(0.35, 0.75) * feeler
            tip = x + lean * wide * 1.2, y - high * rng.uniform(1.45, 1.65)
            pen.line([(x + feeler * wide * 0.3, y - high * 0.8), tip], fill=dark, width=line)
            pen.ellipse(box(*tip, wide * 0.17, wide * 0.17), fill=(250, 196, 40, 255))
    outline = box(x, y, wide, high)
    if relative == "square":
        pen.rectangle(outline, fill=body, outline=dark, width=line)
    else:
        pen.ellipse(outline, fill=body, outline=dark, width=line)
    if relative != "no stripes":
        for level in (0.52, 0.74):
            half = wide * math.sqrt(1 - level**2) * 0.86
            pen.line([(x - half, y + high * level), (x + half, y + high * level)], fill=dark, width=line)
    look = rng.uniform(-0.25, 0.25) * wide, rng.uniform(-0.15, 0.15) * high
    eyes = ((-0.4, 0.26), (0.4, 0.26)) if relative == "two eyes" else ((0.0, rng.uniform(0.4, 0.47)),)
    for offset, size in eyes:
        eye = x + offset * wide, y - high * 0.32
        pen.ellipse(box(*eye, wide * size, wide * size), fill=(255, 255, 255, 255), outline=dark, width=line)
        pen.ellipse(box(eye[0] + look[0] * size, eye[1] + look[1] * size, wide * size * 0.45, wide * size * 0.45),
                    fill=(24, 24, 30, 255))  # fmt: skip
    for tooth in (-1, 1):
        left = x + tooth * wide * 0.16
        pen.polygon([(left - wide * 0.11, y + high * 0.22), (left + wide * 0.11, y + high * 0.22),
                     (left, y + high * 0.42)], fill=(255, 255, 255, 255))  # fmt: skip
    turned = page.rotate(rng.uniform(-9, 9), Image.Resampling.BICUBIC)
    return turned.resize((PX, PX), Image.Resampling.LANCZOS)


def colour(hue: float, saturation: float, value: float) -> tuple[int, int, int, int]:
    """Return a colour of these as opaque RGBA."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue, 255


def box(x: float, y: float, wide: float, high: float) -> Sequence[float]:
    """Return the corners of a box around a centre."""
    return x - wide, y - high, x + wide, y + high
