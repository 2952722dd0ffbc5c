"""Facets: what a concept can do in a scene, and where on its drawing.

Idea: all places are boxes (left, top, right, bottom) in unit coordinates of the drawing's tight alpha box, so
they hold at any size. `head` is the skull without ears or horns: a hat's brim rests on its top edge and is
about as wide as the box. `eyes` is where glasses lie, `neck` where a scarf or tie hangs, `hand` is centred on
the point that grips, `body` is the trunk, `back` is where a rider sits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sumi.data.words import table

__all__ = ["UNMEASURED", "Anchors", "Box", "Facets", "Wearable", "anchors_of", "facets_of"]

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in unit coordinates of a tight box, y down."""

UNMEASURED = frozenset({"emojione", "noto-v1", "fxemoji", "openmoji", "emojione-v1"})
"""Artists on whose drawings nobody has measured where things go."""
PLACES = ("head", "eyes", "neck", "body", "hand", "back")


@dataclass(frozen=True)
class Anchors:
    """Where things go on a bearer. A place that is None cannot carry anything."""

    posture: str
    facing: str
    head: Box | None = None
    eyes: Box | None = None
    neck: Box | None = None
    body: Box | None = None
    hand: Box | None = None
    back: Box | None = None

    def place(self, name: str) -> Box | None:
        """The box called `name`, one of PLACES."""
        box: Box | None = getattr(self, name)
        return box

    def mirrored(self) -> Anchors:
        """The same places on the drawing flipped left to right."""
        flipped = {name: _flip(self.place(name)) for name in PLACES}
        turned = {"left": "right", "right": "left"}.get(self.facing, self.facing)
        return Anchors(self.posture, turned, **flipped)


@dataclass(frozen=True)
class Wearable:
    """How a thing is worn: centred on the `place` box, `width` times as wide.

    The fraction `rest` of its height (0 top, 1 bottom) lies on the box's top edge (head, neck) or on its
    middle (eyes, body).
    """

    place: str
    width: float
    rest: float


@dataclass(frozen=True)
class Facets:
    """What a concept can do: be worn, be held, be ridden (its seat), contain another thing (its opening).

    mirrors: whether its mirror image is still the same thing; an arrow, a letter or the waxing moon turns into another.
    """

    wearable: Wearable | None = None
    holdable: bool = False
    seat: Box | None = None
    opening: Box | None = None
    mirrors: bool = True

    @property
    def rideable(self) -> bool:
        """Whether something can ride on it."""
        return self.seat is not None

    @property
    def container(self) -> bool:
        """Whether something can be inside it."""
        return self.opening is not None


@cache
def facets_of(icon: str) -> Facets:
    """The facets of the concept drawn by `icon`; a concept that the table does not know can do nothing."""
    known = table("facets")
    wear, seat, opening = (known[key].get(icon) for key in ("wear", "seat", "opening"))
    return Facets(
        wearable=Wearable(str(wear[0]), float(wear[1]), float(wear[2])) if wear else None,
        holdable=icon in known["hold"],
        seat=_box(seat),
        opening=_box(opening),
        mirrors=icon not in known["one_way"],
    )


@cache
def anchors_of(icon: str, hand: str) -> Anchors | None:
    """Where things go on `icon` as drawn by `hand`: its own curated places over those of its posture.

    None for a thing that bears nothing, and for one by an artist in whose drawings nobody has measured the places.
    """
    known = table("anchors")
    entry = known["bearers"].get(icon)
    if entry is None or hand in UNMEASURED:
        return None
    # A font is taken to draw as the base set does.
    own = {**entry, **entry.get(hand, entry.get("noto", {}))}
    posture, facing = str(own["posture"]), str(own.get("facing", "front"))
    merged = {**known["postures"][posture], **own}
    places = {name: _box(merged.get(name)) for name in PLACES}
    # Posture defaults are written for a bearer that faces left; an own box is as seen.
    if facing == "right":
        places = {name: box if name in own else _flip(box) for name, box in places.items()}
    return Anchors(posture, facing, **places)


def _box(values: object) -> Box | None:
    if not isinstance(values, list):
        return None
    left, top, right, bottom = (float(v) for v in values)
    return left, top, right, bottom


def _flip(box: Box | None) -> Box | None:
    return None if box is None else (1 - box[2], box[1], 1 - box[0], box[3])
