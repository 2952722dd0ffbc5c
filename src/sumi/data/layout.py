"""Where things go: rows, columns, grids and supports, so that nothing overlaps or leaves the frame.

A drawing of aspect w/h whose longest side is s is s * min(1, w/h) wide and s * min(1, h/w) high. Each layout
gives every drawing a cell and fits the drawing into it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sumi.data.scene import Place

__all__ = ["anchor", "extent", "fit", "frame_boxes", "line", "place_in", "place_of", "slots", "stack_on", "trio"]

MARGIN = 0.03
"""Frame border that things keep clear of."""

Slot = tuple[float, float, float, float]
"""A cell: centre x, centre y, width, height."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom."""


def extent(aspect: float) -> tuple[float, float]:
    """Width and height of a drawing whose longest side is 1."""
    return min(1.0, aspect), min(1.0, 1 / aspect)


def fit(aspect: float, width: float, height: float) -> float:
    """The longest side with which a drawing just fits a cell."""
    wide, high = extent(aspect)
    return min(width / wide, height / high)


def place_in(slot: Slot, aspect: float, fill: float, rng: random.Random, loose: float = 0.5) -> Place:
    """Fit a drawing into a cell at `fill` of its largest size, moved by at most `loose` of what is left."""
    x, y, width, height = slot
    wide, high = extent(aspect)
    side = fit(aspect, width, height) * fill
    spare_x, spare_y = width - wide * side, height - high * side
    # A thin drawing may wander along its cell only a little, or rows would look untidy.
    spare_x, spare_y = min(spare_x, 0.12 * width), min(spare_y, 0.12 * height)
    return Place(
        round(x + (rng.random() - 0.5) * spare_x * loose, 4),
        round(y + (rng.random() - 0.5) * spare_y * loose, 4),
        round(side, 4),
    )


def line(aspects: Sequence[float], sizes: Sequence[float], vertical: bool, rng: random.Random) -> list[Place]:
    """Things side by side (or one above another), as big as `sizes` (relative) allow, centred."""
    along, across = [], []
    for aspect, size in zip(aspects, sizes, strict=True):
        wide, high = extent(aspect)
        along.append((high if vertical else wide) * size)
        across.append((wide if vertical else high) * size)
    room, gap = 1 - 2 * MARGIN, 0.035
    scale = min((room - gap * (len(sizes) - 1)) / sum(along), room * 0.8 / max(across))
    scale *= 0.92 + 0.08 * rng.random()
    spare = room - scale * sum(along) - gap * (len(sizes) - 1)
    # Half of the spare room goes between the things, the rest around them.
    gap += 0.5 * spare / len(sizes)
    at = 0.5 - (scale * sum(along) + gap * (len(sizes) - 1)) / 2
    places = []
    for length, breadth, size in zip(along, across, sizes, strict=True):
        middle = at + scale * length / 2
        sway = min(0.05, (room - scale * breadth) / 2) * (2 * rng.random() - 1)
        x, y = (0.5 + sway, middle) if vertical else (middle, 0.5 + sway)
        places.append(Place(round(x, 4), round(y, 4), round(scale * size, 4)))
        at += scale * length + gap
    return places


def _grid(columns: int, rows: int) -> list[Slot]:
    room = 1 - 2 * MARGIN
    width, height = room / columns, room / rows
    return [
        (MARGIN + (c + 0.5) * width, MARGIN + (r + 0.5) * height, width * 0.95, height * 0.95)
        for r in range(rows)
        for c in range(columns)
    ]


_TRIANGLE: tuple[Slot, ...] = ((0.26, 0.27, 0.45, 0.45), (0.74, 0.27, 0.45, 0.45), (0.5, 0.735, 0.45, 0.45))


def slots(count: int, rng: random.Random) -> list[Slot]:
    """Cells for 1 to 6 equal things."""
    other = rng.random() < 0.5
    if count == 1:
        return [(0.5, 0.5, 0.84, 0.84)]
    if count == 2:
        return _grid(2, 1)
    if count == 3:
        return list(_TRIANGLE) if rng.random() < 0.6 else _grid(3, 1)
    if count == 4:
        return _grid(2, 2)
    if count == 5:
        if other:
            return [(x, y, 0.32, 0.32) for x, y in ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8))]
        return [*_grid(3, 2)[:3], (0.34, 0.735, 0.298, 0.44), (0.66, 0.735, 0.298, 0.44)]
    return _grid(3, 2) if other else _grid(2, 3)


def trio(aspects: Sequence[float], rng: random.Random) -> list[Place]:
    """Three different things: in a row, or two above one."""
    cells = list(_TRIANGLE)
    if rng.random() < 0.5:
        cells = [(x, 1 - y, w, h) for x, y, w, h in cells]
    return [place_in(cell, a, 0.9 + 0.1 * rng.random(), rng) for cell, a in zip(cells, aspects, strict=True)]


def stack_on(top: float, bottom: float, sizes: Sequence[float], rng: random.Random) -> list[Place]:
    """A thing of aspect `top` standing on one of aspect `bottom`, overlapping it a little."""
    (wide_t, high_t), (wide_b, high_b) = extent(top), extent(bottom)
    size_t, size_b = sizes
    overlap = 0.06 * high_b * size_b
    total = high_t * size_t + high_b * size_b - overlap
    breadth = max(wide_t * size_t, wide_b * size_b)
    room = (1 - 2 * MARGIN) * (0.93 + 0.07 * rng.random())
    scale = min(room / total, room / breadth)
    upper = 0.5 - scale * total / 2
    lower = 0.5 + scale * total / 2
    sway = 0.03 * (2 * rng.random() - 1) * (1 if scale * breadth < 0.85 else 0)
    x = round(0.5 + sway, 4)
    return [
        Place(x, round(upper + scale * high_t * size_t / 2, 4), round(scale * size_t, 4)),
        Place(x, round(lower - scale * high_b * size_b / 2, 4), round(scale * size_b, 4)),
    ]


def frame_boxes(boxes: Sequence[Box], fill: float) -> list[Box]:
    """Move and scale boxes together so that their union is centred and fills `fill` of the frame."""
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, bottom = max(b[2] for b in boxes), max(b[3] for b in boxes)
    scale = fill / max(right - left, bottom - top)
    shift_x, shift_y = 0.5 - scale * (left + right) / 2, 0.5 - scale * (top + bottom) / 2
    return [
        (l * scale + shift_x, t * scale + shift_y, r * scale + shift_x, b * scale + shift_y)
        for l, t, r, b in boxes  # noqa: E741
    ]


def place_of(box: Box) -> Place:
    """The place whose tight box is `box`."""
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    return Place(round((left + right) / 2, 4), round((top + bottom) / 2, 4), round(side, 4))


def anchor(bearer: Box, part: Box) -> Box:
    """A box in unit coordinates of the bearer's tight box -> the coordinates the bearer is in."""
    left, top, right, bottom = bearer
    width, height = right - left, bottom - top
    return left + part[0] * width, top + part[1] * height, left + part[2] * width, top + part[3] * height
