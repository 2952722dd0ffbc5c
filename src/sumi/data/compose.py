"""Composing scenes: first what kind of scene with which liberties (an Outline), then its content.

The outline is drawn once; content is drawn again until the split admits it, so held-out combinations do not
thin out the richer kinds of scene.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sumi.data import layout
from sumi.data.atlas import Atlas
from sumi.data.attachment import attach, unit_box
from sumi.data.bongard import INKS, bongard
from sumi.data.facets import UNMEASURED, Box
from sumi.data.lexicon import WORDS
from sumi.data.people import Person
from sumi.data.scene import (
    COLOURS,
    Lettering,
    Place,
    Relation,
    Scene,
    Shape,
    Thing,
)
from sumi.data.seeding import pick
from sumi.data.styling import apply_style, draw_background
from sumi.data.vocabulary import Concept, Vocabulary
from sumi.imaging.letters import line_width

__all__ = ["Composer", "Outline"]

_INSIDE_SHAPES = ("circle", "square", "heart", "diamond", "hexagon", "pentagon")
_SIZES = {"small": 0.6, "big": 1.25, None: 1.0}


@dataclass(frozen=True, slots=True)
class Outline:
    """What a scene will have, before what it will show."""

    kind: str
    coloured: tuple[bool, ...] = (False, False, False)
    background: bool = False
    styled: bool = False
    sized: bool = False
    named_hand: bool = False
    objects: int = 1
    count: int = 1
    relation: str = "and"
    bearing: str = "wearing"
    bongard: str = "one"
    with_thing: bool = False


@dataclass(frozen=True)
class Composer:
    """Draws scenes of each kind from an atlas and its vocabulary. `taught` are the concepts it may use."""

    atlas: Atlas
    vocabulary: Vocabulary
    taught: frozenset[str]

    def compose(self, outline: Outline, rng: random.Random) -> Scene:
        """One scene of this outline."""
        hand = pick(rng, self.atlas.hands) if outline.named_hand else None
        ground = draw_background(rng) if outline.background else None
        make = getattr(self, f"_{outline.kind}")
        parts: dict[str, Any] = make(outline, hand, rng)
        scene = Scene(kind=outline.kind, texture=int(rng.random() * 256), **parts)
        if all(thing.hand == hand for thing in scene.things):
            scene = replace(scene, named_hand=hand)
        return apply_style(scene, ground, outline.styled, rng)

    # What there is to choose from.

    @cached_property
    def objects(self) -> tuple[Concept, ...]:
        """Concepts that are things, not people."""
        return tuple(c for c in self.vocabulary if not c.person and c.name in self.taught)

    @cached_property
    def people(self) -> tuple[Concept, ...]:
        """Roles with skin tones and genders."""
        return tuple(c for c in self.vocabulary if c.person and c.name in self.taught)

    @cached_property
    def bearers(self) -> tuple[Concept, ...]:
        """Concepts that can wear or hold something."""
        return tuple(c for c in self.objects if any(c.anchors(h) is not None for h in c.icons))

    @cached_property
    def accessories(self) -> Mapping[str, tuple[Concept, ...]]:
        """What can be worn, held, ridden."""
        return {
            "wearing": tuple(c for c in self.objects if c.facets.wearable is not None),
            "holding": tuple(c for c in self.objects if c.facets.holdable),
            "riding": tuple(c for c in self.objects if c.facets.rideable),
        }

    @cached_property
    def containers(self) -> tuple[Concept, ...]:
        """What something can be inside."""
        return tuple(c for c in self.objects if c.facets.container)

    @cached_property
    def aspects(self) -> Mapping[tuple[str, str], float]:
        """Width over height of the plain drawing of (concept, hand)."""
        known: dict[tuple[str, str], float] = {}
        for row in self.atlas.rows:
            known.setdefault((row.concept, row.hand), row.aspect)
        return known

    def _hand(self, concept: Concept, hand: str | None, rng: random.Random) -> str:
        if hand is not None and (concept.name, hand) in self.aspects:
            return hand
        return pick(rng, self.hands_of[concept.name])

    def _measured_hand(self, concept: Concept, hand: str | None, rng: random.Random) -> str:
        """An artist in whose drawings it was measured where things go: another's hat would float."""
        if hand is not None and hand not in UNMEASURED and (concept.name, hand) in self.aspects:
            return hand
        return pick(rng, [name for name in self.hands_of[concept.name] if name not in UNMEASURED])

    @cached_property
    def hands_of(self) -> Mapping[str, tuple[str, ...]]:
        """The hands that drew each concept."""
        hands: dict[str, list[str]] = {}
        for concept, hand in self.aspects:
            hands.setdefault(concept, []).append(hand)
        return {concept: tuple(sorted(names)) for concept, names in hands.items()}

    def _several(self, count: int, hand: str | None, rng: random.Random) -> list[tuple[str, str, float]]:
        """Different concepts, all by one artist's hand where they all have it: name, hand, aspect."""
        chosen: list[Concept] = []
        while len(chosen) < count:
            concept = pick(rng, self.objects)
            if concept not in chosen:
                chosen.append(concept)
        if hand is None:
            hand = pick(rng, self.atlas.hands)
        found = [(c.name, self._hand(c, hand, rng)) for c in chosen]
        return [(name, by, self.aspects[name, by]) for name, by in found]

    # One maker a kind.

    def _single(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        concept = pick(rng, self.objects)
        by = self._hand(concept, hand, rng)
        size = ("small" if rng.random() < 0.6 else "big") if outline.sized else None
        colour = pick(rng, tuple(COLOURS)) if outline.coloured[0] else None
        return {"things": (Thing(concept.name, by, (_alone(size, rng),), colour, size),)}

    def _person(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        if not self.people:
            return self._single(outline, hand, rng)
        concept = pick(rng, self.people)
        genders = sorted({v.person.gender for v in concept.variants if v.person is not None})
        gender = pick(rng, genders)
        variants = [v for v in concept.variants if v.person is not None and v.person.gender == gender]
        variant = pick(rng, variants)
        by = hand if hand in variant.icons else pick(rng, sorted(variant.icons))
        person = variant.person or Person(concept.name)
        thing = Thing(
            concept.name,
            by or "",
            (_alone(None, rng),),
            gender=None if gender == "person" else gender,
            tone=None if person.tone == "default" else person.tone,
        )
        return {"things": (thing,)}

    def _pair(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        if outline.objects == 3:
            found = self._several(3, hand, rng)
            places = layout.trio([a for _, _, a in found], rng)
            return {"things": tuple(
                Thing(n, h, (p,), _maybe_colour(c, rng))
                for (n, h, _), p, c in zip(found, places, outline.coloured, strict=True)
            )}  # fmt: skip
        if outline.relation == "inside":
            return self._inside(outline, hand, rng)
        found = self._several(2, hand, rng)
        sizes: list[str | None] = [None, None]
        if outline.sized:
            sizes = ["small", "big"] if rng.random() < 0.5 else ["big", "small"]
        places = self._arrange(outline.relation, [a for _, _, a in found], [_SIZES[s] for s in sizes], rng)
        things = tuple(
            Thing(n, h, (p,), _maybe_colour(c, rng), s)
            for (n, h, _), p, c, s in zip(found, places, outline.coloured, sizes, strict=False)
        )
        relation = None if outline.relation == "and" else Relation(outline.relation, 0, 1)
        return {"things": things, "relation": relation}

    def _arrange(self, relation: str, aspects: list[float], sizes: Sequence[float], rng: random.Random) -> list[Place]:
        if relation == "on":
            return layout.stack_on(aspects[0], aspects[1], (sizes[0] * 0.9, sizes[1]), rng)
        backwards = relation in ("right of", "below")
        order = [1, 0] if backwards else [0, 1]
        vertical = relation in ("above", "below")
        placed = layout.line([aspects[k] for k in order], [sizes[k] for k in order], vertical, rng)
        return [placed[order.index(k)] for k in (0, 1)]

    def _inside(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        concept = pick(rng, self.objects)
        by = self._hand(concept, hand, rng)
        aspect = self.aspects[concept.name, by]
        colour = _maybe_colour(outline.coloured[0], rng)
        relation = Relation("inside", 0, 0)
        if self.containers and rng.random() < 0.25:
            container = pick(rng, self.containers)
            opening = container.facets.opening
            if opening is not None and container is not concept:
                by2 = self._measured_hand(container, by, rng)
                outer = layout.frame_boxes([unit_box(self.aspects[container.name, by2])], 0.92)[0]
                slot = _slot(layout.anchor(outer, opening))
                inner = layout.place_in(slot, aspect, 0.95, rng, 0.0)
                thing = Thing(concept.name, by, (inner,), colour)
                holder = Thing(container.name, by2, (layout.place_of(outer),), _maybe_colour(outline.coloured[1], rng))
                return {"things": (thing, holder), "relation": Relation("inside", 0, 1)}
        figure = pick(rng, _INSIDE_SHAPES)
        shape = Shape(
            figure, Place(0.5, 0.5, round(0.88 + 0.08 * rng.random(), 4)), pick(rng, tuple(COLOURS)),
            filled=rng.random() < 0.75,
        )  # fmt: skip
        room = {"circle": 0.56, "square": 0.68, "heart": 0.46, "diamond": 0.42}.get(figure, 0.52)
        y = {"heart": 0.44, "pentagon": 0.53}.get(figure, 0.5)
        place = layout.place_in((0.5, y, room, room), aspect, 0.88 + 0.12 * rng.random(), rng)
        if colour == shape.colour:
            colour = None
        return {
            "things": (Thing(concept.name, by, (place,), colour),),
            "shapes": (shape,),
            "relation": relation,
        }

    def _count(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        concept = pick(rng, self.objects)
        by = self._hand(concept, hand, rng)
        aspect = self.aspects[concept.name, by]
        fill = 0.86 + 0.14 * rng.random()
        places = tuple(layout.place_in(s, aspect, fill, rng) for s in layout.slots(outline.count, rng))
        return {"things": (Thing(concept.name, by, places, _maybe_colour(outline.coloured[0], rng)),)}

    def _crowd(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        """Two or three kinds of thing, six in all at most: two ghosts and a pumpkin."""
        kinds = 2 if rng.random() < 0.75 else 3
        found, total = self._several(kinds, hand, rng), kinds + int(rng.random() * (7 - kinds))
        counts = [1] * kinds
        for _ in range(total - kinds):
            counts[int(rng.random() * kinds)] += 1
        cells, things = iter(layout.slots(total, rng)), []
        for (name, by, aspect), count, coloured in zip(found, counts, outline.coloured, strict=False):
            places = tuple(layout.place_in(next(cells), aspect, 0.9, rng) for _ in range(count))
            things.append(Thing(name, by, places, _maybe_colour(coloured, rng)))
        return {"things": tuple(things)}

    def _accessory(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        if not self.bearers or not all(self.accessories.values()):
            return self._single(outline, hand, rng)
        for _ in range(200):
            bearer, other = pick(rng, self.bearers), pick(rng, self.accessories[outline.bearing])
            by = self._measured_hand(bearer, hand, rng)
            by2 = self._measured_hand(other, by, rng)
            anchors, aspects = bearer.anchors(by), self.aspects
            if anchors is None or bearer is other:
                continue
            boxes = attach(
                outline.bearing,
                aspects[bearer.name, by],
                anchors,
                aspects[other.name, by2],
                other.facets,
                rng,
            )
            if boxes is not None:
                break
        else:
            return self._single(outline, hand, rng)
        mine, its = layout.frame_boxes(boxes, 0.88 + 0.07 * rng.random())
        things = (
            Thing(bearer.name, by, (layout.place_of(mine),), _maybe_colour(outline.coloured[0], rng)),
            Thing(other.name, by2, (layout.place_of(its),), _maybe_colour(outline.coloured[1], rng)),
        )
        return {"things": things, "relation": Relation(outline.bearing, 0, 1)}

    def _word(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        text = self._letters(rng)
        weight = pick(rng, ("regular", "bold", "bold"))
        colour = pick(rng, INKS)
        units = line_width(text, weight)
        if not outline.with_thing:
            height = min(0.9 / units, 0.62) * (0.86 + 0.14 * rng.random())
            place = Place(round(0.5 + 0.02 * (rng.random() - 0.5), 4), round(0.5 + 0.1 * (rng.random() - 0.5), 4), 0)
            return {"lettering": _lettering(text, place, height, colour, weight)}
        concept = pick(rng, self.objects)
        by = self._hand(concept, hand, rng)
        thing = layout.place_in((0.5, 0.33, 0.6, 0.6), self.aspects[concept.name, by], 0.95, rng)
        height = min(0.9 / units, 0.26)
        words = _lettering(text, Place(0.5, 0.81, 0), height, colour, weight)
        coloured = _maybe_colour(outline.coloured[0], rng)
        return {"things": (Thing(concept.name, by, (thing,), coloured),), "lettering": words}

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        names = {w.upper() for c in self.objects for w in c.words if len(w) <= 6 and w.isascii() and w.isalpha()}
        return tuple(sorted(names | set(WORDS)))

    def _letters(self, rng: random.Random) -> str:
        """A word that means something twice in three, else letters that do not."""
        draw = rng.random()
        if draw < 0.65:
            return pick(rng, self._texts)
        length = 1 + int(rng.random() * 6)
        if draw < 0.8:
            return "".join(chr(65 + int(rng.random() * 26)) for _ in range(length))
        sounds = ("BCDFGHJKLMNPRSTVWXYZ", "AEIOU")
        start = int(rng.random() * 2)
        return "".join(pick(rng, sounds[(start + k) % 2]) for k in range(length))

    def _bongard(self, outline: Outline, hand: str | None, rng: random.Random) -> dict[str, Any]:
        shapes, relation = bongard(outline.bongard, rng)
        return {"shapes": shapes, "relation": relation}


def _maybe_colour(wanted: bool, rng: random.Random) -> str | None:
    return pick(rng, tuple(COLOURS)) if wanted else None


def _alone(size: str | None, rng: random.Random) -> Place:
    """One thing in the middle: 76 to 92 per cent of the frame, small 34 to 46, big 93 to 96."""
    low, high = {None: (0.76, 0.92), "small": (0.34, 0.46), "big": (0.94, 0.97)}[size]
    side = low + (high - low) * rng.random()
    sway = min(0.025, (1 - side) / 2 - 0.01)
    x, y = (0.5 + sway * (2 * rng.random() - 1) for _ in range(2))
    return Place(round(x, 4), round(y, 4), round(side, 4))


def _slot(box: Box) -> layout.Slot:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _lettering(text: str, place: Place, height: float, colour: str, weight: str) -> Lettering:
    width = line_width(text, weight) * height
    return Lettering(text, Place(place.x, place.y, round(width, 4)), round(height, 4), colour, weight)
