"""A scene: the one typed truth behind a training picture.

Everything else derives from it, so nothing can disagree with it:

    scene -> picture   (render)       scene -> caption  (grammar)
    scene -> split    (held-out combinations)

Coordinates are fractions of a square frame: x to the right, y downwards, both in [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "BACKGROUNDS",
    "BEARINGS",
    "COLOURS",
    "KINDS",
    "STYLES",
    "Background",
    "Lettering",
    "Place",
    "Relation",
    "Scene",
    "Shape",
    "Thing",
    "Variation",
]

RGB = tuple[int, int, int]

#: The colours an object, a shape or a word can be asked for, with the middle tone of each.
COLOURS: Mapping[str, RGB] = {
    "red": (222, 36, 40),
    "orange": (250, 130, 16),
    "yellow": (253, 212, 28),
    "green": (44, 165, 62),
    "blue": (36, 98, 224),
    "purple": (132, 52, 190),
    "pink": (250, 120, 180),
    "brown": (128, 76, 40),
    "black": (38, 38, 42),
    "white": (246, 246, 246),
    "gray": (142, 146, 150),
}

#: Backgrounds are paler or deeper than the objects, so that a red fox shows on red.
BACKGROUNDS: Mapping[str, RGB] = {
    "red": (214, 62, 62),
    "orange": (255, 167, 74),
    "yellow": (255, 232, 120),
    "green": (126, 204, 122),
    "blue": (110, 176, 245),
    "purple": (172, 128, 222),
    "pink": (255, 190, 214),
    "brown": (158, 112, 78),
    "black": (20, 20, 24),
    "white": (255, 255, 255),
    "gray": (190, 193, 197),
}

#: Styles drawn by our own code, in the order the renderer numbers them.
STYLES: tuple[str, ...] = (
    "pencil drawing",
    "pixel art",
    "watercolour",
    "neon",
    "silhouette",
    "mosaic",
    "sticker outline",
)

SIZES: tuple[str, ...] = ("small", "big")

#: Spatial relations between two things; the first of each pair is how the split writes both.
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below", "on", "inside")

#: What an accessory does to the one who has it.
BEARINGS: tuple[str, ...] = ("wearing", "holding", "riding")

#: How two Bongard shapes stand to each other.
KINDS: tuple[str, ...] = ("single", "pair", "count", "accessory", "word", "bongard", "person", "crowd")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: centre (x, y) and longest side of its tight box, as fractions of the frame."""

    x: float
    y: float
    side: float


@dataclass(frozen=True, slots=True)
class Variation:
    """How one thing differs from its artist's drawing, see `sumi.data.augmentation`.

    turn: in turns, 1 = 360 degrees. stretch: log of width over height. shear: sideways, in heights. elastic: how far a
    point is moved at most, in longest sides; field: by which elastic field. stroke: width of an outline, in frames.
    palette: the artist whose colours of the same thing are taken.
    """

    mirror: bool = False
    turn: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    field: int = 0
    stroke: float = 0.0
    palette: str | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One concept by one artist's hand, drawn once per place (so `len(places)` is its count).

    A person may have a gender and a skin tone; None is the neutral yellow emoji's. No caption says a variation.
    """

    concept: str
    hand: str
    places: tuple[Place, ...]
    colour: str | None = None
    size: str | None = None
    gender: str | None = None
    tone: str | None = None
    variation: Variation | None = None

    @property
    def count(self) -> int:
        """How many of it there are."""
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Shape:
    """A drawn outline: a named figure, or a random polygon fixed by `variant`.

    turn is in turns (1 = 360 degrees). A shape is filled, or outlined; an open one has a gap.
    """

    name: str
    place: Place
    colour: str
    turn: float = 0.0
    filled: bool = True
    closed: bool = True
    variant: int = 0


@dataclass(frozen=True, slots=True)
class Lettering:
    """A written word; `place.side` is the width of its line, `height` the height of its capitals."""

    text: str
    place: Place
    height: float
    colour: str
    weight: str = "bold"


@dataclass(frozen=True, slots=True)
class Relation:
    """`subject` stands in relation `name` to `object`.

    Both are indices into the scene's things, or into its shapes where `of` is "shapes"; "inside" with
    things has a thing as the subject and a shape as the object.
    """

    name: str
    subject: int
    object: int


@dataclass(frozen=True, slots=True)
class Background:
    """An opaque background: its name and the exact shade of this scene."""

    colour: str
    rgb: RGB


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is true of one picture.

    `style` is one of our own; `named_hand` the artist's hand, where the captions name it (all things are
    by it then). `texture` seeds the grain of the style.
    """

    kind: str
    things: tuple[Thing, ...] = ()
    shapes: tuple[Shape, ...] = ()
    lettering: Lettering | None = None
    relation: Relation | None = None
    background: Background | None = None
    style: str | None = None
    named_hand: str | None = None
    texture: int = 0

    @property
    def back_to_front(self) -> tuple[Thing, ...]:
        """Its things in the order they are drawn: what is ridden lies behind its rider."""
        things, link = list(self.things), self.relation
        if link is not None and link.name == "riding":
            things[link.subject], things[link.object] = things[link.object], things[link.subject]
        return tuple(things)

    def to_json(self) -> str:
        """The scene as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Scene:
        """The scene that `to_json` wrote."""
        return _scene(json.loads(text))


def _place(d: Mapping[str, Any]) -> Place:
    return Place(**d)


def _thing(d: Mapping[str, Any]) -> Thing:
    varied = d.get("variation")
    places = tuple(_place(p) for p in d["places"])
    return Thing(**{**d, "places": places, "variation": Variation(**varied) if varied else None})


def _scene(d: Mapping[str, Any]) -> Scene:
    things = tuple(_thing(t) for t in d["things"])
    shapes = tuple(Shape(**{**s, "place": _place(s["place"])}) for s in d["shapes"])
    lettering = d["lettering"]
    background = d["background"]
    return Scene(
        kind=d["kind"],
        things=things,
        shapes=shapes,
        lettering=Lettering(**{**lettering, "place": _place(lettering["place"])}) if lettering else None,
        relation=Relation(**d["relation"]) if d["relation"] else None,
        background=Background(background["colour"], tuple(background["rgb"])) if background else None,
        style=d["style"],
        named_hand=d["named_hand"],
        texture=d["texture"],
    )
