"""Placement: from how things stand to each other, and the outlines that were drawn, to the places of all of them.

A scene is folded from its first thing on: each link joins a group of placed things and the next one to a larger group.
Groups lie in a plane without edges; at the end the whole is framed, so that nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sumi.autoregressive import LayoutBox
from sumi.layout.scene import OWN, Link, RelatedScene
from sumi.layout.silhouette import Box, Silhouette
from sumi.layout.wear import held_box, wearable_of, worn_box

__all__ = ["FILL", "Placed", "frame_spots", "place_scene"]

FILL = 0.92
"""The share of the frame that a scene fills along its longer side."""
GAP = 0.06
"""Between things that stand apart, in the longest side of one."""
PLACES = 64
"""At so many places of their common side two outlines are compared."""


@dataclass(frozen=True, eq=False)
class Placed:
    """One drawing of a thing: its place in the scene, its silhouette, and its tight box in the plane."""

    thing: int
    shape: Silhouette
    box: Box

    def moved(self, right: float = 0.0, down: float = 0.0) -> Placed:
        """Return it moved."""
        return replace(self, box=self.box.moved(right, down))

    def scaled(self, factor: float) -> Placed:
        """Return it scaled about the origin of the plane."""
        return replace(self, box=Box(*(factor * side for side in self.box)))


Group = list[Placed]


def bounds(group: Sequence[Placed]) -> Box:
    """Return the box of all."""
    lefts, tops, rights, bottoms = zip(*(one.box for one in group), strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def moved(group: Group, right: float = 0.0, down: float = 0.0) -> Group:
    """Return all moved."""
    return [one.moved(right, down) for one in group]


def fitted(group: Group, width: float, height: float) -> Group:
    """Return a group at the largest scale at which it fits a size, its middle at the origin."""
    box = bounds(group)
    factor = min(width / box.width, height / box.height)
    return [one.moved(-box.x, -box.y).scaled(factor) for one in group]


def clearance(one: Group, other: Group, down: bool = True) -> float:
    """Return how far the first may move down (or right) until its outline touches that of the other.

    Groups that pass each other have the clearance of their boxes.
    """
    gaps = [_clearance(a, b, down) for a in one for b in other]
    found = [gap for gap in gaps if gap is not None]
    if found:
        return min(found)
    return bounds(other).top - bounds(one).bottom if down else bounds(other).left - bounds(one).right


def _clearance(one: Placed, other: Placed, down: bool) -> float | None:
    a, b = one.box, other.box
    if not down:
        a, b = Box(a.top, a.left, a.bottom, a.right), Box(b.top, b.left, b.bottom, b.right)
    first, last = max(a.left, b.left), min(a.right, b.right)
    if last <= first:
        return None
    at = first + (np.arange(PLACES) + 0.5) / PLACES * (last - first)
    far, near = ("bottom", "top") if down else ("right", "left")
    lower = a.top + a.height * one.shape.contour(far, (at - a.left) / a.width)
    upper = b.top + b.height * other.shape.contour(near, (at - b.left) / b.width)
    gaps = (upper - lower)[~np.isnan(upper - lower)]
    return float(gaps.min()) if len(gaps) else None


# Groups of one thing, and of things that stand beside each other.


def copies(thing: int, shape: Silhouette, count: int, columns: int) -> Group:
    """Return so many copies of a thing in rows, each with the longest side 1; the last row is centred."""
    wide, high = shape.extent
    group: Group = []
    for number in range(count):
        row, column = divmod(number, columns)
        here = min(columns, count - row * columns)
        x, y = (column - (here - 1) / 2) * (wide + GAP), row * (high + GAP)
        group.append(Placed(thing, shape, Box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)))
    return group


def in_line(groups: Sequence[Group], down: bool, gap: float) -> Group:
    """Return groups in a row or a column, with a gap between their outlines, and their middles on one line."""
    placed: Group = []
    for group in groups:
        box = bounds(group)
        centred = moved(group, -box.x, -box.y)
        if placed:
            shift = bounds(centred).height if down else bounds(centred).width
            ahead = bounds(placed).bottom if down else bounds(placed).right
            far = ahead + 2 * shift
            centred = moved(centred, 0 if down else far, far if down else 0)
            step = clearance(placed, centred, down) - gap
            centred = moved(centred, 0 if down else -step, -step if down else 0)
        placed += centred
    return placed


def of_one_size(groups: Sequence[Group]) -> list[Group]:
    """Return groups of about one size: the more things a group has, the larger it may be."""
    return [fitted(group, len(group) ** 0.5, len(group) ** 0.5) if len(group) > 1 else group for group in groups]


# Relations of a group to the thing that is joined to it: what stands first in the prompt comes first here.


def beside(group: Group, other: Group, gap: float = GAP) -> Group:
    """The first left of the other."""
    return in_line(of_one_size([group, other]), False, gap)


def above(group: Group, other: Group, gap: float = GAP) -> Group:
    """The first above the other."""
    return in_line(of_one_size([group, other]), True, gap)


def on(group: Group, other: Group) -> Group:
    """The first stands on the upper outline of the other."""
    below = bounds(other)
    upper = fitted(group, 0.9 * below.width, 0.9 * max(below.width, below.height))
    upper = moved(upper, below.x, below.top - bounds(upper).bottom - 1)
    return [*_dropped(upper, other, 0.04), *other]


def _dropped(group: Group, other: Group, sink: float) -> Group:
    """Return a group whose things fall until each touches the other, and sink in by a share of their height."""
    owned: dict[int, float] = {}
    for stack in _stacks(group):
        fall = clearance([group[k] for k in stack], other)
        owned |= dict.fromkeys(stack, fall + sink * bounds([group[k] for k in stack]).height)
    return [one.moved(0, owned[k]) for k, one in enumerate(group)]


def _stacks(group: Group) -> list[list[int]]:
    """Return which things overlap each other, as what is worn and who wears it do; they move together."""
    stacks: list[list[int]] = []
    for k, one in enumerate(group):
        joined = [stack for stack in stacks if any(_overlap(one.box, group[other].box) for other in stack)]
        stacks = [stack for stack in stacks if stack not in joined] + [[*(n for stack in joined for n in stack), k]]
    return stacks


def _overlap(a: Box, b: Box) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def within(group: Group, other: Group) -> Group:
    """The first lies inside the outline of the other, as large as it may be there."""
    outer = other[0]
    disc = outer.shape.discs[outer.shape.discs[:, 2].argmax()]
    longest = max(outer.box.width, outer.box.height)
    x, y, r = (longest * float(value) for value in disc)
    inner = fitted(group, 1.5 * r, 1.5 * r)
    return [*moved(inner, outer.box.left + x, outer.box.top + y), *other]


def inside(group: Group, other: Group) -> Group:
    """The first looks out of the other, which hides its lower part."""
    outer, shape = bounds(other), other[0].shape
    inner = fitted(group, 0.75 * outer.width, 1.1 * max(outer.width, outer.height))
    rim = outer.top + int((_widths(shape) > 0.6).argmax()) / len(shape.cells) * outer.height
    down = rim + min(0.45 * bounds(inner).height, 0.9 * (outer.bottom - rim)) - bounds(inner).bottom
    return [*moved(inner, outer.x, down), *other]


def _widths(shape: Silhouette) -> NDArray[np.float64]:
    """Return how wide a thing is in each row, as a share of its widest."""
    widths = shape.cells.sum(axis=1)
    return np.asarray(widths / widths.max())


def under(group: Group, other: Group) -> Group:
    """The first stands below the canopy of the other, before its stem; below the whole of it where it has no stem."""
    tall = bounds(other)
    canopy = canopy_bottom(other[0].shape)
    if canopy is None:
        lower = fitted(group, 0.8 * tall.width, 0.8 * max(tall.width, tall.height))
        return in_line([other, lower], True, 0.0)
    free = tall.bottom - (tall.top + canopy * tall.height)
    lower = fitted(group, 1.3 * tall.width, max(1.1 * free, 0.45 * tall.height))
    return [*moved(lower, tall.x, tall.top + canopy * tall.height - bounds(lower).top), *other]


def canopy_bottom(shape: Silhouette) -> float | None:
    """Return the height, in fractions from the top, where a wide top ends and a stem begins; None without a stem."""
    narrow = _widths(shape) < 0.45
    stem = int(narrow[::-1].argmin()) if not narrow.all() else 0
    high = len(narrow)
    # A foot, or the handle of an umbrella, may be wider than the stem above it.
    for start in range(int(0.35 * high), high):
        if narrow[start : start + max(2, high // 8)].all():
            return start / high
    return (high - stem) / high if stem > high // 8 else None


def behind(group: Group, other: Group) -> Group:
    """The first looks out from behind the other, above it and to its left, with more than half of it in sight."""
    first, front = (fitted(some, 1.0, 1.0) for some in of_one_size([group, other]))
    box, before = bounds(first), bounds(front)
    right = before.left + 0.35 * before.width - box.x
    down = before.top + 0.4 * before.height - box.y - 0.05
    return [*moved(first, right, min(down, before.top + 0.45 * box.height - box.bottom + 0.1)), *front]


def in_front_of(group: Group, other: Group) -> Group:
    """The first stands before the other, lower and to its right."""
    return [*behind(other, group)]


def between(group: Group, one: Group, other: Group) -> Group:
    """The first stands between the two others, near both."""
    return in_line(of_one_size([one, group, other]), False, 0.02)


RELATIONS: Mapping[str, Callable[[Group, Group], Group]] = {
    "beside": beside,
    "left of": beside,
    "right of": lambda group, other: beside(other, group),
    "above": above,
    "below": lambda group, other: above(other, group),
    "apart": lambda group, other: beside(group, other, 0.3),
    "touching": lambda group, other: beside(group, other, -0.02),
    "on": on,
    "within": within,
    "inside": inside,
    "under": under,
    "behind": behind,
    "in front of": in_front_of,
}


def own(group: Group, link: Link, scene: RelatedScene, shape: Silhouette, usual: LayoutBox | None) -> Group:
    """Return a group in which each drawing of the owner wears, holds or rides a drawing of the thing."""
    thing = link.things[0]
    owners = [one for one in group if one.thing == link.owner]
    each = max(1, scene.things[thing].count // len(owners))
    placed: Group = []
    for one in owners:
        side = max(one.box.width, one.box.height)
        for number in range(each):
            if link.relation == "riding":
                placed.append(_ridden(thing, shape, one))
                break
            wearable = wearable_of(scene.things[thing].noun)
            box = (
                held_box(one.shape, shape, (number % 2 == 0) == (usual is None or usual.x > 0))
                if link.relation == "holding" or wearable is None
                else worn_box(wearable, one.shape, shape, usual)
            )
            up = 0.6 * box.height * number if link.relation == "wearing" else 0.0
            worn = Placed(thing, shape, box).scaled(side).moved(one.box.left, one.box.top)
            if wearable is not None and wearable.on_skull and link.relation == "wearing":
                fall = clearance([worn], [one])
                worn = worn.moved(0, fall + (1 - wearable.rest) * worn.box.height) if fall > 0 else worn
            placed.append(worn.moved(0, -up * side))
    return [*group, *placed]


def _ridden(thing: int, shape: Silhouette, rider: Placed) -> Placed:
    """Return what a rider sits on: it touches the rider from below, and the rider sinks in a little."""
    wide, high = (1.35 * max(rider.box.width, rider.box.height) * length for length in shape.extent)
    far = rider.box.bottom + 2 * high
    ridden = Placed(thing, shape, Box(rider.box.x - wide / 2, far, rider.box.x + wide / 2, far + high))
    return ridden.moved(0, -clearance([rider], [ridden]) - 0.14 * rider.box.height)


def place_scene(
    scene: RelatedScene,
    shapes: Sequence[Silhouette],
    usual: Mapping[int, LayoutBox] | None = None,
) -> list[tuple[LayoutBox, ...]]:
    """Return where each thing of a scene is shown, in the order of its things.

    Args:
        scene: the things, and how they stand to each other.
        shapes: the silhouette of each thing.
        usual: of what is worn or held, by its place, where its bearer usually has it, from the middle of its bearer, in
            its bearer's longest sides.
    """
    spread = not any(link.relation in ("beside", "left of", "right of", "touching", "apart") for link in scene.links)

    def some(thing: int) -> Group:
        count = scene.things[thing].count
        columns = count if spread and count <= 3 else 1 if count <= 2 and scene.links else round(count**0.5 + 0.49)
        made = copies(thing, shapes[thing], count, max(1, columns))
        return [one.scaled(scene.things[thing].scale) for one in made]

    group = some(scene.first)
    for link in scene.links:
        if link.relation in OWN:
            group = own(group, link, scene, shapes[link.things[0]], (usual or {}).get(link.things[0]))
        elif link.relation == "between":
            others = [some(thing) for thing in link.things]
            one, other = others if len(others) == 2 else (others[0][:1], others[0][1:])
            group = between(group, one, other)
        else:
            group = RELATIONS[link.relation](group, some(link.things[0]))
    framed = [one.moved(0.5, 0.5) for one in fitted(group, FILL, FILL)]
    return [tuple(_spot(one.box) for one in framed if one.thing == thing) for thing in range(len(shapes))]


def _spot(box: Box) -> LayoutBox:
    return LayoutBox(box.x, box.y, max(box.width, box.height))


def frame_spots(
    spots: Sequence[Sequence[LayoutBox]], shapes: Sequence[Silhouette], margin: float = 0.0
) -> list[tuple[LayoutBox, ...]]:
    """Return planned spots moved and shrunk together, as little as brings every drawing into the frame."""
    group = [
        Placed(thing, shape, Box(x - side * wide / 2, y - side * high / 2, x + side * wide / 2, y + side * high / 2))
        for thing, (some, shape) in enumerate(zip(spots, shapes, strict=True))
        for wide, high in [shape.extent]
        for x, y, side in some
    ]
    box, room = bounds(group), 1 - 2 * margin
    factor = min(1.0, room / box.width, room / box.height)
    group = [one.scaled(factor) for one in group]
    box = bounds(group)
    sides = ((box.left, box.right), (box.top, box.bottom))
    right, down = (max(margin - low, min(0.0, 1 - margin - high)) for low, high in sides)
    placed = moved(group, right, down)
    return [tuple(_spot(one.box) for one in placed if one.thing == thing) for thing in range(len(shapes))]
