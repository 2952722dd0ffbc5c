"""Contrasts: scenes that differ from another by one fact, so that a batch holds what is easily confused.

    thing     "a red fox"                     "a red telephone"
    colour    "a red fox"                     "a blue fox"
    swap      "a red fox and a blue car"      "a blue fox and a red car";  left of and right of, above and below
    count     "three owls"                    "five owls"
    person    "a woman chef with dark skin"   "a man chef with dark skin"

To a CLIP that was trained without them, colour is nearly everything: a red fox was nearest to red telephones. In a
batch with its contrasts, the picture and the caption of a scene have to be told from those that share all but one fact
(hard negatives, as in NegCLIP: Yuksekgonul et al. 2022, arXiv 2210.01936, section 4).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from sumi.data import layout
from sumi.data.compose import Composer
from sumi.data.scene import COLOURS, Place, Scene, Thing
from sumi.data.seeding import pick
from sumi.data.styling import honest_styles, painted

__all__ = ["contrast", "contrasts"]

ALIKE = 0.25
"""How far the log of the aspect of another thing may be from the one that it replaces."""
MOST_COUNT = 6
_TURNED = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_TRIES = 40


def contrasts(scene: Scene) -> tuple[str, ...]:
    """Return the kinds of contrast that a scene has, in the order in which a group takes them."""
    coloured = [thing.colour for thing in scene.things if thing.colour is not None]
    bound = scene.relation is not None and scene.relation.name not in _TURNED
    if not scene.things or bound or scene.lettering is not None:
        return ("colour",) if coloured and scene.lettering is None else ()
    kinds = []
    if len(scene.things) == 2 and (len(set(coloured)) == 2 or scene.relation is not None):
        kinds.append("swap")
    if scene.kind == "count":
        kinds.append("count")
    if scene.kind == "person":
        return ("person", "thing")
    return (*kinds, *(["colour"] if coloured else []), "thing")


def contrast(scene: Scene, kind: str, composer: Composer, rng: random.Random) -> Scene | None:
    """Return a scene that differs from another by one fact of a kind; None where none turns up."""
    return _MAKERS[kind](scene, composer, rng)


def _other_thing(scene: Scene, composer: Composer, rng: random.Random) -> Scene | None:
    number = int(rng.random() * len(scene.things))
    thing = scene.things[number]
    shown = {other.concept for other in scene.things}
    choices = composer.people if scene.kind == "person" else composer.objects
    aspects = composer.aspects
    for _ in range(_TRIES):
        concept = pick(rng, choices)
        key = concept.name, thing.hand
        if concept.name in shown or key not in aspects or (thing.concept, thing.hand) not in aspects:
            continue
        drawn = {(v.person.gender, v.person.tone) for v in concept.variants if v.person and thing.hand in v.icons}
        if concept.person and (thing.gender or "person", thing.tone or "default") not in drawn:
            continue
        if abs(math.log(aspects[key] / aspects[thing.concept, thing.hand])) < ALIKE:
            return _with(scene, number, replace(thing, concept=concept.name))
    return None


def _other_colour(scene: Scene, composer: Composer, rng: random.Random) -> Scene | None:
    number = pick(rng, [k for k, thing in enumerate(scene.things) if thing.colour is not None])
    shown = {thing.colour for thing in scene.things} | {shape.colour for shape in scene.shapes}
    shown |= {scene.background.colour if scene.background is not None else None}
    free = [colour for colour in COLOURS if colour not in shown]
    other = _with(scene, number, replace(scene.things[number], colour=pick(rng, free)))
    honest = other.style is None or other.style in honest_styles(other, painted(other))
    return other if honest else None


def _swapped(scene: Scene, composer: Composer, rng: random.Random) -> Scene | None:
    one, other = scene.things
    if one.colour is not None and other.colour is not None and one.colour != other.colour:
        return replace(scene, things=(replace(one, colour=other.colour), replace(other, colour=one.colour)))
    link = scene.relation
    if link is None:
        return None
    beside = link.name in ("left of", "right of")
    turned = tuple(replace(thing, places=tuple(_mirrored(p, beside) for p in thing.places)) for thing in scene.things)
    return replace(scene, things=turned, relation=replace(link, name=_TURNED[link.name]))


def _mirrored(place: Place, beside: bool) -> Place:
    return replace(place, x=round(1 - place.x, 4)) if beside else replace(place, y=round(1 - place.y, 4))


def _other_count(scene: Scene, composer: Composer, rng: random.Random) -> Scene | None:
    (thing,) = scene.things
    count = pick(rng, [n for n in range(1, MOST_COUNT + 1) if n != thing.count])
    aspect = composer.aspects[thing.concept, thing.hand]
    places = tuple(layout.place_in(slot, aspect, 0.93, rng) for slot in layout.slots(count, rng))
    return _with(scene, 0, replace(thing, places=places))


def _other_person(scene: Scene, composer: Composer, rng: random.Random) -> Scene | None:
    thing = scene.things[0]
    people = [v.person for v in composer.vocabulary[thing.concept].variants if v.person and thing.hand in v.icons]
    who = (thing.gender or "person", thing.tone or "default")
    near = [p for p in people if ((p.gender == who[0]) != (p.tone == who[1]))]
    if not near:
        return None
    other = pick(rng, near)
    gender, tone = None if other.gender == "person" else other.gender, None if other.tone == "default" else other.tone
    return _with(scene, 0, replace(thing, gender=gender, tone=tone))


def _with(scene: Scene, number: int, thing: Thing) -> Scene:
    """The scene with one thing replaced."""
    things = (*scene.things[:number], thing, *scene.things[number + 1 :])
    return replace(scene, things=things)


_MAKERS: Mapping[str, Callable[[Scene, Composer, random.Random], Scene | None]] = {
    "thing": _other_thing,
    "colour": _other_colour,
    "swap": _swapped,
    "count": _other_count,
    "person": _other_person,
}
