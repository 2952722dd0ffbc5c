"""Capitals, digits and a few signs as our own polylines, and short texts set in them.

A glyph is a few strokes; its picture at any size and weight is one threshold of the distance d to them:

    coverage = clamp(0.5 + (half_width - d) * pixels_per_unit, 0, 1)

A model cannot spell; a text of this type is always legible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

__all__ = [
    "GLYPHS",
    "INKS",
    "LETTERS",
    "WEIGHTS",
    "Point",
    "advance",
    "can_set",
    "distance",
    "line_width",
    "segments",
    "set_text",
]

Point = tuple[float, float]
Stroke = tuple[Point, ...]

#: Half the width of a stroke, in units of the capital height.
WEIGHTS: Mapping[str, float] = {"thin": 0.055, "regular": 0.08, "bold": 0.115}

#: Red, green and blue of the inks, by the colours that prompts may ask for.
INKS: Mapping[str, tuple[int, int, int]] = {
    "red": (222, 36, 40), "orange": (250, 130, 16), "yellow": (253, 212, 28), "green": (44, 165, 62),
    "blue": (36, 98, 224), "purple": (132, 52, 190), "pink": (250, 120, 180), "brown": (128, 76, 40),
    "black": (38, 38, 42), "white": (246, 246, 246), "gray": (142, 146, 150), "grey": (142, 146, 150),
}  # fmt: skip

LONGEST_LINE, MOST_LINES = 10, 3
LEADING = 1.45
"""The distance of two lines, in units of the capital height."""


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float, per_quarter: int = 5) -> Stroke:
    """Points on an ellipse from `start` to `end` in quarter turns, clockwise on screen from 3 o'clock."""
    steps = max(3, round(per_quarter * abs(end - start)))
    angles = [(start + (end - start) * k / steps) * math.pi / 2 for k in range(steps + 1)]
    return tuple((x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles)


def _letters(arc: Callable[..., Stroke]) -> dict[str, tuple[float, tuple[Stroke, ...]]]:
    """Each capital: its width, and its strokes in a box of that width and height 1."""
    top = ((0.0, 0.0), (0.0, 1.0))
    bowl_p = ((0.0, 0.0), (0.3, 0.0), *arc(0.32, 0.27, 0.26, 0.27, -1, 1), (0.0, 0.54))
    return {
        "A": (0.68, (((0.0, 1.0), (0.34, 0.0), (0.68, 1.0)), ((0.12, 0.66), (0.56, 0.66)))),
        "B": (
            0.58,
            (
                top,
                ((0.0, 0.0), *arc(0.28, 0.24, 0.24, 0.24, -1, 1), (0.0, 0.48)),
                ((0.0, 0.48), *arc(0.3, 0.74, 0.28, 0.26, -1, 1), (0.0, 1.0)),
            ),
        ),
        "C": (0.66, (arc(0.38, 0.5, 0.38, 0.5, -0.5, -3.5),)),
        "D": (0.62, (top, ((0.0, 0.0), (0.16, 0.0), *arc(0.16, 0.5, 0.46, 0.5, -1, 1), (0.0, 1.0)))),
        "E": (0.52, (((0.52, 0.0), (0.0, 0.0), (0.0, 1.0), (0.52, 1.0)), ((0.0, 0.48), (0.44, 0.48)))),
        "F": (0.52, (((0.52, 0.0), (0.0, 0.0), (0.0, 1.0)), ((0.0, 0.48), (0.44, 0.48)))),
        "G": (0.7, ((*arc(0.38, 0.5, 0.38, 0.5, -0.55, -4), (0.42, 0.5)), ((0.76, 0.5), (0.76, 0.54)))),
        "H": (0.62, (top, ((0.62, 0.0), (0.62, 1.0)), ((0.0, 0.48), (0.62, 0.48)))),
        "I": (0.36, (((0.18, 0.0), (0.18, 1.0)), ((0.0, 0.0), (0.36, 0.0)), ((0.0, 1.0), (0.36, 1.0)))),
        "J": (0.5, (((0.5, 0.0), (0.5, 0.72), *arc(0.25, 0.72, 0.25, 0.28, 0, 2)),)),
        "K": (0.6, (top, ((0.58, 0.0), (0.0, 0.56)), ((0.2, 0.38), (0.6, 1.0)))),
        "L": (0.5, (((0.0, 0.0), (0.0, 1.0), (0.5, 1.0)),)),
        "M": (0.78, (((0.0, 1.0), (0.0, 0.0), (0.39, 0.62), (0.78, 0.0), (0.78, 1.0)),)),
        "N": (0.64, (((0.0, 1.0), (0.0, 0.0), (0.64, 1.0), (0.64, 0.0)),)),
        "O": (0.78, (arc(0.39, 0.5, 0.39, 0.5, 0, 4),)),
        "P": (0.56, (top, bowl_p)),
        "Q": (0.78, (arc(0.39, 0.5, 0.39, 0.5, 0, 4), ((0.48, 0.7), (0.8, 1.06)))),
        "R": (0.6, (top, bowl_p, ((0.26, 0.54), (0.6, 1.0)))),
        "S": (
            0.56,
            (
                (
                    *arc(0.28, 0.25, 0.27, 0.25, -0.3, -3),
                    *arc(0.28, 0.75, 0.28, 0.25, -1, 1.75),
                ),
            ),
        ),
        "T": (0.64, (((0.0, 0.0), (0.64, 0.0)), ((0.32, 0.0), (0.32, 1.0)))),
        "U": (0.62, (((0.0, 0.0), (0.0, 0.68), *reversed(arc(0.31, 0.68, 0.31, 0.32, 0, 2)), (0.62, 0.0)),)),
        "V": (0.68, (((0.0, 0.0), (0.34, 1.0), (0.68, 0.0)),)),
        "W": (0.92, (((0.0, 0.0), (0.23, 1.0), (0.46, 0.28), (0.69, 1.0), (0.92, 0.0)),)),
        "X": (0.62, (((0.0, 0.0), (0.62, 1.0)), ((0.62, 0.0), (0.0, 1.0)))),
        "Y": (0.64, (((0.0, 0.0), (0.32, 0.5), (0.64, 0.0)), ((0.32, 0.5), (0.32, 1.0)))),
        "Z": (0.6, (((0.0, 0.0), (0.6, 0.0), (0.0, 1.0), (0.6, 1.0)),)),
    }


#: The capitals with coarse arcs, by which models learn to write.
LETTERS: Mapping[str, tuple[float, tuple[Stroke, ...]]] = _letters(_arc)


def _others(arc: Callable[..., Stroke]) -> dict[str, tuple[float, tuple[Stroke, ...]]]:
    """Each digit and sign, as `_letters` has the capitals."""
    dot = ((0.12, 0.97), (0.12, 1.0))
    return {
        "0": (0.6, (arc(0.3, 0.5, 0.3, 0.5, 0, 4),)),
        "1": (0.34, (((0.0, 0.2), (0.24, 0.0), (0.24, 1.0)),)),
        "2": (0.56, ((*arc(0.28, 0.28, 0.27, 0.28, -2, 0.35), (0.0, 1.0), (0.56, 1.0)),)),
        "3": (0.56, ((*arc(0.27, 0.25, 0.25, 0.25, -1.8, 1), *arc(0.27, 0.75, 0.29, 0.25, -1, 1.8)),)),
        "4": (0.64, (((0.46, 1.0), (0.46, 0.0), (0.0, 0.7), (0.64, 0.7)),)),
        "5": (0.56, (((0.52, 0.0), (0.08, 0.0), (0.04, 0.45), *arc(0.26, 0.68, 0.3, 0.32, -1.3, 1.75)),)),
        "6": (0.58, (((0.46, 0.0), (0.05, 0.56), *arc(0.29, 0.69, 0.29, 0.31, -2, 2)),)),
        "7": (0.56, (((0.0, 0.0), (0.56, 0.0), (0.18, 1.0)),)),
        "8": (0.58, (arc(0.29, 0.24, 0.25, 0.24, 0, 4), arc(0.29, 0.74, 0.29, 0.26, 0, 4))),
        "9": (0.58, ((*arc(0.29, 0.31, 0.29, 0.31, 0, 4), (0.53, 0.44), (0.12, 1.0)),)),
        "!": (0.24, (((0.12, 0.0), (0.12, 0.68)), dot)),
        "?": (0.52, ((*arc(0.26, 0.26, 0.25, 0.26, -2, 0.6), (0.26, 0.56), (0.26, 0.7)), ((0.26, 0.97), (0.26, 1.0)))),
        "-": (0.4, (((0.0, 0.52), (0.4, 0.52)),)),
        "+": (0.56, (((0.0, 0.52), (0.56, 0.52)), ((0.28, 0.24), (0.28, 0.8)))),
        ".": (0.24, (dot,)),
        "'": (0.2, (((0.1, 0.0), (0.1, 0.2)),)),
        "&": (0.72, ((
            (0.72, 1.0), (0.16, 0.34), *arc(0.3, 0.2, 0.18, 0.2, -2.4, 0.7), (0.08, 0.62),
            *reversed(arc(0.3, 0.76, 0.3, 0.24, 0.1, 2.6)), (0.66, 0.56),
        ),)),
    }  # fmt: skip


_fine = partial(_arc, per_quarter=20)
#: Every glyph that can be set.
GLYPHS: Mapping[str, tuple[float, tuple[Stroke, ...]]] = {**_letters(_fine), **_others(_fine)}


def advance(letter: str, weight: str) -> float:
    """Return how far a glyph moves the pen, in units of the capital height."""
    return GLYPHS[letter][0] + 2 * WEIGHTS[weight] + 0.14


def line_width(text: str, weight: str) -> float:
    """Return the width of a line of glyphs, in units of the capital height."""
    return sum(advance(letter, weight) for letter in text) - 0.14


def segments(strokes: tuple[Stroke, ...]) -> Tensor:
    """Return float (K, 4), the straight pieces x0, y0, x1, y1 of strokes."""
    pairs = [(*a, *b) for stroke in strokes for a, b in pairwise(stroke)]
    return torch.tensor(pairs, dtype=torch.float32)


def distance(points: Tensor, pieces: Tensor) -> Tensor:
    """Return the distance from each of `points` (..., 2) to the nearest of `pieces` (K, 4)."""
    x, y = points[..., 0, None], points[..., 1, None]
    x0, y0, x1, y1 = pieces.unbind(1)
    along_x, along_y = x1 - x0, y1 - y0
    length = (along_x * along_x + along_y * along_y).clamp_min(1e-12)
    away_x, away_y = x - x0, y - y0
    share = ((away_x * (along_x / length)).addcmul_(away_y, along_y / length)).clamp_(0, 1)
    away_x.addcmul_(share, along_x, value=-1)
    away_y.addcmul_(share, along_y, value=-1)
    return away_x.square_().addcmul_(away_y, away_y).amin(-1).sqrt_()


def can_set(text: str) -> bool:
    """Return whether a text can be set: one to three short words of letters, digits and a few signs."""
    lines = text.upper().split()
    return 0 < len(lines) <= MOST_LINES and all(
        len(line) <= LONGEST_LINE and set(line) <= GLYPHS.keys() for line in lines
    )


def set_text(text: str, ink: str, size_px: int, weight: str = "bold") -> Tensor:
    """Return a text in capitals, one word a line, that fills a clear square: premultiplied uint8 (4, S, S).

    Args:
        text: what `can_set`.
        ink: a name of `INKS`.
        size_px: the side S.
        weight: a name of `WEIGHTS`.
    """
    lines = text.upper().split()
    half, widths = WEIGHTS[weight], [line_width(line, weight) for line in lines]
    high = 1 + (len(lines) - 1) * LEADING
    unit = 0.84 * size_px / max(*widths, high + 2 * half)
    place = (torch.arange(size_px, dtype=torch.float32) + 0.5 - size_px / 2) / unit
    y, x = torch.meshgrid(place, place, indexing="ij")
    coverage = torch.zeros(size_px, size_px)
    for number, (line, width) in enumerate(zip(lines, widths, strict=True)):
        pen, top = half - width / 2, number * LEADING - high / 2
        for glyph in line:
            points = torch.stack([x - pen, y - top], dim=-1)
            away = distance(points, segments(GLYPHS[glyph][1]))
            coverage = torch.maximum(coverage, (0.5 + (half - away) * unit).clamp(0, 1))
            pen += advance(glyph, weight)
    colour = torch.tensor([*INKS[ink], 255], dtype=torch.float32)
    return (coverage * colour[:, None, None]).round().to(torch.uint8)
