"""Letters and figures as our own polylines, turned into distance fields.

A letter is a few strokes; its picture at any size and weight is one threshold of the distance d to them:

    coverage = clamp(0.5 + (half_width - d) * pixels_per_unit, 0, 1)

The distance is computed once per letter on a fine grid and sampled from there; figures (circle, star, random
polygons) are measured exactly, since each may be a new one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

__all__ = [
    "FIELD_MARGIN",
    "FIGURES",
    "POLYGONS",
    "WEIGHTS",
    "advance",
    "distance",
    "letter_fields",
    "letter_index",
    "line_width",
    "outline",
]

Point = tuple[float, float]
Stroke = tuple[Point, ...]

#: Half the width of a stroke, in units of the capital height.
WEIGHTS: Mapping[str, float] = {"thin": 0.055, "regular": 0.08, "bold": 0.115}

#: A letter's field covers this much more than its box on every side, so that strokes are not cut.
FIELD_MARGIN = 0.25

#: Pixels of a letter's field, along the side of its square.
FIELD_PX = 96


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Points on an ellipse from `start` to `end` in quarter turns, clockwise on screen from 3 o'clock."""
    steps = max(3, round(5 * abs(end - start)))
    angles = [(start + (end - start) * k / steps) * math.pi / 2 for k in range(steps + 1)]
    return tuple((x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles)


def _letters() -> dict[str, tuple[float, tuple[Stroke, ...]]]:
    """Each capital: its width, and its strokes in a box of that width and height 1."""
    arc = _arc
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


LETTERS: Mapping[str, tuple[float, tuple[Stroke, ...]]] = _letters()
_ORDER = "".join(LETTERS)


def advance(letter: str, weight: str) -> float:
    """How far a capital moves the pen, in units of the capital height."""
    return LETTERS[letter][0] + 2 * WEIGHTS[weight] + 0.14


def line_width(text: str, weight: str) -> float:
    """Width of a line of capitals, in units of the capital height."""
    return sum(advance(letter, weight) for letter in text) - 0.14


def letter_index(letter: str) -> int:
    """Where a capital's field lies in `letter_fields`."""
    return _ORDER.index(letter)


def segments(strokes: tuple[Stroke, ...]) -> Tensor:
    """Float (K, 4): the straight pieces x0, y0, x1, y1 of strokes."""
    pairs = [(*a, *b) for stroke in strokes for a, b in pairwise(stroke)]
    return torch.tensor(pairs, dtype=torch.float32)


def distance(points: Tensor, pieces: Tensor) -> Tensor:
    """Distance from each of `points` (..., 2) to the nearest of `pieces` (K, 4)."""
    x, y = points[..., 0, None], points[..., 1, None]
    x0, y0, x1, y1 = pieces.unbind(1)
    along_x, along_y = x1 - x0, y1 - y0
    length = (along_x * along_x + along_y * along_y).clamp_min(1e-12)
    away_x, away_y = x - x0, y - y0
    share = ((away_x * (along_x / length)).addcmul_(away_y, along_y / length)).clamp_(0, 1)
    away_x.addcmul_(share, along_x, value=-1)
    away_y.addcmul_(share, along_y, value=-1)
    return away_x.square_().addcmul_(away_y, away_y).amin(-1).sqrt_()


@cache
def letter_fields() -> Tensor:
    """Float (26, FIELD_PX, FIELD_PX): distances to each capital's strokes.

    The square of a field is centred on the letter and spans 1 + 2 FIELD_MARGIN capital heights.
    """
    span = 1 + 2 * FIELD_MARGIN
    line = (torch.arange(FIELD_PX, dtype=torch.float32) + 0.5) / FIELD_PX * span - span / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    fields = []
    for width, strokes in LETTERS.values():
        points = torch.stack([x + width / 2, y + 0.5], dim=-1)
        fields.append(distance(points, segments(strokes)))
    return torch.stack(fields)


def _star(points: int, inner: float) -> list[Point]:
    radii = [1.0 if k % 2 == 0 else inner for k in range(2 * points)]
    return [(r * math.sin(math.pi * k / points), -r * math.cos(math.pi * k / points)) for k, r in enumerate(radii)]


def _regular(sides: int, shift: float = 0.0) -> list[Point]:
    angles = [2 * math.pi * (k + shift) / sides for k in range(sides)]
    return [(math.sin(a), -math.cos(a)) for a in angles]


def _heart() -> list[Point]:
    points = []
    for k in range(44):
        a = 2 * math.pi * k / 44
        x = 16 * math.sin(a) ** 3
        y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
        points.append((x, -y))
    return points


_NAMED: Mapping[str, tuple[Point, ...]] = {
    "circle": tuple(_regular(32)),
    "square": tuple(_regular(4, 0.5)),
    "triangle": tuple(_regular(3)),
    "diamond": ((0.0, -1.0), (0.72, 0.0), (0.0, 1.0), (-0.72, 0.0)),
    "pentagon": tuple(_regular(5)),
    "hexagon": tuple(_regular(6)),
    "star": tuple(_star(5, 0.42)),
    "heart": tuple(_heart()),
    "rectangle": ((-1.0, -0.55), (1.0, -0.55), (1.0, 0.55), (-1.0, 0.55)),
    "cross": (
        (-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33),
        (0.33, 1), (-0.33, 1), (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33),
    ),
}  # fmt: skip

#: Figures that have a plain English name.
FIGURES: tuple[str, ...] = tuple(_NAMED)

#: Figures without one: each `variant` is another polygon.
POLYGONS: tuple[str, ...] = ("convex shape", "concave shape")


@cache
def outline(name: str, variant: int = 0) -> tuple[Point, ...]:
    """Corners of a figure, clockwise, in the box [-0.5, 0.5]^2 whose longer side it fills."""
    corners = _NAMED.get(name) or _polygon(variant, concave=name == "concave shape")
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    middle_x, middle_y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    side = max(max(xs) - min(xs), max(ys) - min(ys))
    return tuple(((x - middle_x) / side, (y - middle_y) / side) for x, y in corners)


def _polygon(variant: int, concave: bool) -> list[Point]:
    """A random polygon: corners on a circle are convex; two corners pulled deep inside make it concave."""
    rng = random.Random(variant * 2 + concave)
    count = 4 + int(rng.random() * 4)
    corners = []
    for k in range(count):
        a = 2 * math.pi * (k + 0.15 + 0.7 * rng.random()) / count
        corners.append((math.sin(a), -math.cos(a)))
    if not concave:
        return corners
    dents = {int(rng.random() * count)}
    if count >= 6:
        dents.add((next(iter(dents)) + 2 + int(rng.random() * (count - 3))) % count)
    shape: list[Point] = []
    for k, (x, y) in enumerate(corners):
        shape.append((x, y))
        if k in dents:
            x1, y1 = corners[(k + 1) % count]
            shape.append(((x + x1) * 0.16, (y + y1) * 0.16))
    return shape
