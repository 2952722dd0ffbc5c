"""Briefs: a caption, and what it asks for, thing by thing, with the place that the scene gives each.

    scene -> caption        scene, as far as it is said -> (phrase, places), from back to front

A phrase is what would be said of one thing alone, in the caption's own words: "three small red apples in pixel art"
asks for "pixel art of a red apple" at three places. Sizes are left to the places. From these pairs a model learns to
arrange; nothing is rendered for it. Some captions are embroidered with words that ask for nothing, most of which
nobody taught, so that a model learns to pass over what it does not know.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sumi.data import grammar
from sumi.data.generator import Scenes
from sumi.data.scene import Lettering, Place, Scene, Shape, Thing
from sumi.data.seeding import pick, scene_rng

__all__ = ["LayoutCaption", "LayoutPhrase", "layout_caption"]

EMBROIDERED = 0.3
"""How many captions are."""

FILLERS = (
    "beautiful", "cute", "detailed", "funny", "happy", "lovely", "nice", "old", "pretty", "sad", "shiny", "young",
    "sitting", "standing", "running", "playing", "looking", "smiling", "flying", "very", "really", "please",
    "in a park", "on a beach", "at night", "at sunset", "in the sky", "on a table", "in the city", "for kids",
)  # fmt: skip
_AFTER = re.compile(r"\b(?:a|an|the|two|three|four|five|six)\b")
_SYLLABLES = tuple("ba cro del fin gar hu jo kla lim mor nep qua ris sto tum vex".split())


@dataclass(frozen=True, slots=True)
class LayoutPhrase:
    """One phrase, and where what it says stands."""

    phrase: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class LayoutCaption:
    """A caption, what it wants from back to front, and the colour behind it all in [0, 1] where it says one."""

    caption: str
    wanted: tuple[LayoutPhrase, ...]
    ground: tuple[float, float, float] | None


def layout_caption(scenes: Scenes, index: int) -> LayoutCaption:
    """Brief number `index` of a generator, each concept called by one name throughout."""
    scene, rng = scenes.scene(index), scene_rng(scenes.seed, index, "brief")
    chosen = {thing.concept: grammar.a_name(scenes.names(thing.concept), rng) for thing in scene.things}

    def names(concept: str) -> tuple[str]:
        return (chosen[concept],)

    caption, said = grammar.describe(scene, rng, names)
    wanted = [LayoutPhrase(grammar.describe_thing(said, names, part), _places(part)) for part in _parts(said)]
    ground = None if said.background is None else said.background.rgb
    if rng.random() < EMBROIDERED:
        caption = add_filler_words(caption, rng)
    return LayoutCaption(caption, tuple(wanted), ground and (ground[0] / 255, ground[1] / 255, ground[2] / 255))


def add_filler_words(caption: str, rng: random.Random) -> str:
    """A caption with one or two words in it, behind an article or at an end, that ask for nothing."""
    for _ in range(1 + int(rng.random() * 2)):
        word = pick(rng, FILLERS) if rng.random() < 0.6 else "".join(pick(rng, _SYLLABLES) for _ in range(2))
        places = [0, len(caption), *(found.end() for found in _AFTER.finditer(caption) if '"' not in caption)]
        place = pick(rng, places)
        caption = f"{caption[:place]} {word} {caption[place:]}".strip()
    return re.sub(" +", " ", caption)


def _parts(scene: Scene) -> Iterator[Thing | Shape | Lettering]:
    """Everything drawn, from back to front."""
    yield from scene.shapes
    yield from scene.back_to_front
    if scene.lettering is not None:
        yield scene.lettering


def _places(part: Thing | Shape | Lettering) -> tuple[Place, ...]:
    """Centre and longest side of what is drawn."""
    if isinstance(part, Thing):
        return part.places
    if isinstance(part, Lettering):
        return (replace(part.place, side=max(part.place.side, part.height)),)
    return (part.place,)
