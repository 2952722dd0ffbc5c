"""Bongard scenes: figures, and how two of them stand to each other.

One figure alone, two that are the same or different, touching, apart, or one inside the other; each filled or
outlined, closed or open, with a name of its own or only "convex" or "concave".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from sumi.data.glyphs import FIGURES, POLYGONS
from sumi.data.scene import COLOURS, Place, Relation, Shape
from sumi.data.seeding import pick

__all__ = ["BONGARDS", "INKS", "bongard"]

BONGARDS = ("one", "same", "different", "touching", "apart", "inside")

#: White figures would be lost on a transparent background.
INKS = tuple(c for c in COLOURS if c != "white")

#: Figures whose box touches where they do, on every side.
_TOUCHING = ("circle", "square", "cross")
_ROOMY = ("circle", "square", "hexagon")


def bongard(what: str, rng: random.Random) -> tuple[tuple[Shape, ...], Relation | None]:
    """Shapes that show `what`, one of BONGARDS, and the relation between them if it has a name."""
    first, second = pick(rng, INKS), pick(rng, INKS)
    if what == "one":
        return (_figure(rng, Place(0.5, 0.5, 0.7 + 0.2 * rng.random()), first),), None
    if what == "inside":
        outer = _figure(rng, Place(0.5, 0.5, 0.9), first, _ROOMY, upright=True)
        if outer.filled and first == second:
            second = "white"
        inner = _figure(rng, Place(0.5, 0.5, 0.3 + 0.08 * rng.random()), second, FIGURES)
        return (outer, inner), Relation("inside", 1, 0)
    names = _TOUCHING if what == "touching" else None
    one = _figure(rng, Place(0.27, 0.5, 0.44), first, names, upright=what == "touching")
    two = _figure(rng, Place(0.73, 0.5, 0.44), second, names, upright=what == "touching")
    if what == "same" or (what != "different" and rng.random() < 0.4):
        two = replace(one, place=two.place)
    while what == "different" and two.name == one.name:
        two = _figure(rng, two.place, second)
    relation = Relation(what, 0, 1) if what in ("touching", "apart") else None
    return _spread(one, two, what, rng), relation


def _spread(one: Shape, two: Shape, what: str, rng: random.Random) -> tuple[Shape, Shape]:
    """Two shapes beside each other (or one over the other), meeting, near or far."""
    side = {"touching": 0.44, "apart": 0.34}.get(what, 0.4) * (0.9 + 0.1 * rng.random())
    gap = {"touching": -0.012, "apart": 0.2}.get(what, 0.1)
    away = (side + gap) / 2
    upright = rng.random() < 0.3
    spots = [(0.5, 0.5 - away), (0.5, 0.5 + away)] if upright else [(0.5 - away, 0.5), (0.5 + away, 0.5)]
    first, second = (
        replace(shape, place=_rounded(x, y, side, shape.turn)) for shape, (x, y) in zip((one, two), spots, strict=True)
    )
    return first, second


def _figure(
    rng: random.Random,
    place: Place,
    colour: str,
    names: Sequence[str] | None = None,
    upright: bool = False,
) -> Shape:
    """A random figure: filled, outlined, or (upright ones apart) open."""
    name = pick(rng, names or (*FIGURES, *POLYGONS, *POLYGONS))
    draw = rng.random()
    filled = draw < 0.55
    closed = filled or upright or draw < 0.8
    turn = round(rng.random(), 3) if name in POLYGONS else 0.0
    variant = int(rng.random() * 40) if name in POLYGONS else 0
    return Shape(name, _rounded(place.x, place.y, place.side, turn), colour, turn, filled, closed, variant)


def _rounded(x: float, y: float, side: float, turn: float) -> Place:
    """A place in whole ten-thousandths; what is turned gets less room, since its corners reach further."""
    return Place(round(x, 4), round(y, 4), round(side * (0.8 if turn else 1.0), 4))
