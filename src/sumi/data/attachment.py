"""Bearing: where the boxes of a bearer and of what it wears, holds or rides lie to each other.

All boxes are tight boxes in one common frame, later moved and scaled together; None where the bearer has no
place for the thing.
"""

from __future__ import annotations

import random

from sumi.data import layout
from sumi.data.facets import Anchors, Box, Facets

__all__ = ["attach", "unit_box"]


def unit_box(aspect: float) -> Box:
    """The tight box of a drawing whose longest side is 1, at the origin."""
    wide, high = layout.extent(aspect)
    return 0.0, 0.0, wide, high


def attach(
    bearing: str, bearer: float, anchors: Anchors, other: float, facets: Facets, rng: random.Random
) -> list[Box] | None:
    """Boxes of a bearer (its aspect and anchors) and of a thing (its aspect and facets)."""
    if bearing == "riding":
        return _ride(bearer, anchors, other, facets)
    if bearing == "holding":
        return _hold(bearer, anchors, other, rng)
    return _wear(bearer, anchors, other, facets)


def _ride(bearer: float, anchors: Anchors, other: float, facets: Facets) -> list[Box] | None:
    """The rider sits on the seat."""
    mine, ridden = unit_box(bearer), layout.frame_boxes([unit_box(other)], 1.0)[0]
    if facets.seat is None or anchors.posture in ("face", "fish"):
        return None
    left, _, right, floor = layout.anchor(ridden, facets.seat)
    size, middle = 0.72, (left + right) / 2
    width, height = mine[2] * size, mine[3] * size
    return [(middle - width / 2, floor - height, middle + width / 2, floor), ridden]


def _hold(bearer: float, anchors: Anchors, other: float, rng: random.Random) -> list[Box] | None:
    """The thing is about two fifths of the bearer, centred just outside its hand."""
    mine, box = unit_box(bearer), unit_box(other)
    if anchors.hand is None:
        return None
    left, top, right, bottom = layout.anchor(mine, anchors.hand)
    size = 0.36 + 0.08 * rng.random()
    width, height = box[2] * size, box[3] * size
    x, y = (left + right) / 2, (top + bottom) / 2 + 0.04
    x += 0.07 if x > mine[2] / 2 else -0.07
    return [mine, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)]


def _wear(bearer: float, anchors: Anchors, other: float, facets: Facets) -> list[Box] | None:
    """The thing lies on its part of the body as `Wearable` says, and is never too small to see."""
    wearable = facets.wearable
    where = anchors.place(wearable.place) if wearable is not None else None
    if wearable is None or where is None:
        return None
    mine = unit_box(bearer)
    left, top, right, bottom = layout.anchor(mine, where)
    width = (right - left) * wearable.width
    width *= max(1.0, 0.26 / max(width, width / other))
    height = width / other
    level = top if wearable.place in ("head", "neck") else (top + bottom) / 2
    # A face ends at its chin: what hangs from the neck hangs lower, so as not to cover the mouth.
    rest = wearable.rest * (0.3 if anchors.posture == "face" and wearable.place == "neck" else 1.0)
    upper, middle = level - rest * height, (left + right) / 2
    return [mine, (middle - width / 2, upper, middle + width / 2, upper + height)]
