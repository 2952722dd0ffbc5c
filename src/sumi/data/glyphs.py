"""Letters and figures as polylines, turned into distance fields.

The picture of a letter at any size and weight is one threshold of the distance d to its strokes:

    coverage = clamp(0.5 + (half_width - d) * pixels_per_unit, 0, 1)

The distance is computed once per letter on a fine grid and sampled from there; figures (circle, star, random
polygons) are measured exactly, since each may be a new one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from sumi.imaging.letters import LETTERS, Point, distance, segments

__all__ = ["FIELD_MARGIN", "FIGURES", "POLYGONS", "letter_fields", "letter_index", "outline"]

#: A letter's field covers this much more than its box on every side, so that strokes are not cut.
FIELD_MARGIN = 0.25

#: Pixels of a letter's field, along the side of its square.
FIELD_PX = 96


_ORDER = "".join(LETTERS)


def letter_index(letter: str) -> int:
    """Where a capital's field lies in `letter_fields`."""
    return _ORDER.index(letter)


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
