"""The questions of the exam: a fixed list of prompts for each category.

A question is a prompt with the facts that its picture must show. The lists follow from the names of the concepts, the
hash of `sumi.data.split` and a random stream of their own, so everybody gets the same lists. A shorter list is a prefix
of a longer one. Held-out questions ask for combinations that training never shows, of parts that it does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sumi.data.grammar import RELATION_PHRASES, STYLE_PHRASES, noun_phrase
from sumi.data.scene import BACKGROUNDS, COLOURS, STYLES, Scene
from sumi.data.seeding import scene_rng
from sumi.data.split import Combination, hash_share, is_held_out, relation
from sumi.errors import SumiError

__all__ = ["CATEGORIES", "MAIN", "RELATIONS", "SEED", "VERSION", "Question", "Syllabus", "make_questions"]

#: Increased whenever a list changes.
VERSION = 1
SEED = 1_000_003
RELATIONS = ("left of", "right of", "above", "below", "on")
_TRIES = 10_000


@dataclass(frozen=True)
class Question:
    """A prompt and the facts that its picture must show.

    Args:
        category: the name of its list.
        prompt: the text.
        things: one or two concepts.
        colours: the colour of each thing, or None for any.
        relation: of the first thing to the second.
        count: how many of the thing.
        style: the style of the picture.
        background: the colour of the background.
        lettering: a word to write, and its colour.
        absent: a concept that must not be there.
    """

    category: str
    prompt: str
    things: tuple[str, ...]
    colours: tuple[str | None, ...]
    relation: str | None = None
    count: int | None = None
    style: str | None = None
    background: str | None = None
    lettering: tuple[str, str] | None = None
    absent: str | None = None

    @classmethod
    def of_scene(cls, category: str, scene: Scene, prompt: str = "") -> Question:
        """Return the question that a scene answers, so that the judge can be examined on true pictures."""
        return cls(
            category,
            prompt,
            tuple(thing.concept for thing in scene.things),
            tuple(thing.colour for thing in scene.things),
            relation=scene.relation.name if scene.relation is not None and scene.relation.name in RELATIONS else None,
            count=scene.things[0].count if scene.kind == "count" else None,
            style=scene.style,
            background=None if scene.background is None else scene.background.colour,
        )


@dataclass(frozen=True)
class Syllabus:
    """The concepts that an exam asks about.

    Args:
        names: of the concepts.
        people: those of them that are people.
    """

    names: tuple[str, ...]
    people: frozenset[str] = frozenset()

    @classmethod
    def common(cls, taught: Sequence[str], known: Sequence[str], people: Sequence[str] = ()) -> Syllabus:
        """Return the concepts that the model was taught and the judge knows, without held-out icons.

        Args:
            taught: the concepts of the model.
            known: the concepts of the judge.
            people: those that are people.

        Raises:
            SumiError: when fewer than two remain.
        """
        both = [name for name in taught if name in set(known) and not is_held_out(Combination("concept", (name,)))]
        if len(both) < 2:
            raise SumiError("the model and the judge have no two concepts in common, so there is nothing to examine")
        return cls(tuple(sorted(both)), frozenset(people))

    @property
    def objects(self) -> tuple[str, ...]:
        """The concepts that are not people; questions may give these any colour, count or style."""
        found = tuple(name for name in self.names if name not in self.people)
        if len(found) < 2:
            raise SumiError("fewer than two things were taught, so there is nothing to combine")
        return found


def make_questions(category: str, syllabus: Syllabus, n: int) -> list[Question]:
    """Return the first n questions of a category, or all where it has fewer.

    Raises:
        SumiError: for an unknown category.
    """
    if category not in CATEGORIES:
        raise SumiError(f"there is no exam in '{category}': choose from {', '.join(CATEGORIES)}")
    return list(islice(CATEGORIES[category](syllabus), n))


def _shuffled(names: Sequence[str], category: str) -> list[str]:
    return sorted(names, key=lambda name: hash_share(f"exam|{category}|{name}"))


def _single(syllabus: Syllabus) -> Iterator[Question]:
    for name in _shuffled(syllabus.names, "single"):
        yield Question("single", noun_phrase(name, []), (name,), (None,))


def _held_out_values(syllabus: Syllabus, category: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield held-out pairs (object, value); every object comes once before any comes again."""
    for turn in range(len(values)):
        for name in _shuffled(syllabus.objects, category):
            out = [value for value in values if is_held_out(Combination(category, (name, value)))]
            out = [value for value in out if value not in name.split()]  # every caption says the value
            order = sorted(out, key=lambda value: hash_share(f"exam|{category}|{name}|{value}"))
            if turn < len(order):
                yield name, order[turn]


def _colour(syllabus: Syllabus) -> Iterator[Question]:
    for name, colour in _held_out_values(syllabus, "colour", tuple(COLOURS)):
        yield Question("colour", noun_phrase(name, [colour]), (name,), (colour,))


def _style(syllabus: Syllabus) -> Iterator[Question]:
    for name, style in _held_out_values(syllabus, "style", STYLES):
        prompt = STYLE_PHRASES[style][0].format(noun_phrase(name, []))
        yield Question("style", prompt, (name,), (None,), style=style)


def _count(syllabus: Syllabus) -> Iterator[Question]:
    for name, count in _held_out_values(syllabus, "count", tuple("23456")):
        yield Question("count", noun_phrase(name, [], int(count)), (name,), (None,), count=int(count))


def _background(syllabus: Syllabus) -> Iterator[Question]:
    colours = tuple(BACKGROUNDS)
    for number, name in enumerate(_shuffled(syllabus.names, "background")):
        colour = colours[number % len(colours)]
        prompt = f"{noun_phrase(name, [])} on {noun_phrase(f'{colour} background', [])}"
        yield Question("background", prompt, (name,), (None,), background=colour)


def _choose_two(choices: Sequence[str], rng: random.Random) -> tuple[str, str]:
    """Return two different choices; `random()` gives the same numbers in every version of Python."""
    first, second = int(rng.random() * len(choices)), int(rng.random() * (len(choices) - 1))
    return choices[first], choices[second + (second >= first)]


def _pair(syllabus: Syllabus) -> Iterator[Question]:
    objects = syllabus.objects
    for number in range(_TRIES):
        pair = _choose_two(objects, scene_rng(SEED, number, "exam pair"))
        yield Question("pair", " and ".join(noun_phrase(name, []) for name in pair), pair, (None, None))


def _pair_held_out(syllabus: Syllabus) -> Iterator[Question]:
    objects = syllabus.objects
    for number in range(_TRIES):
        rng, link = scene_rng(SEED, number, "exam pair held out"), RELATIONS[number % len(RELATIONS)]
        for _ in range(_TRIES):
            pair = _choose_two(objects, rng)
            if is_held_out(relation(pair[0], link, pair[1])):
                prompt = RELATION_PHRASES[link][0].format(*(noun_phrase(name, []) for name in pair))
                yield Question("pair held out", prompt, pair, (None, None), relation=link)
                break


def _binding(syllabus: Syllabus) -> Iterator[Question]:
    """Yield two things in two colours; training shows each thing in its colour."""
    objects = syllabus.objects
    for number in range(_TRIES):
        rng = scene_rng(SEED, number, "exam binding")
        for _ in range(_TRIES):
            pair, colours = _choose_two(objects, rng), _choose_two(tuple(COLOURS), rng)
            if not any(is_held_out(Combination("colour", both)) for both in zip(pair, colours, strict=True)):
                parts = [noun_phrase(name, [colour]) for name, colour in zip(pair, colours, strict=True)]
                yield Question("binding", " and ".join(parts), pair, colours)
                break


CATEGORIES: Mapping[str, Callable[[Syllabus], Iterator[Question]]] = {
    "single": _single,
    "colour": _colour,
    "pair": _pair,
    "pair held out": _pair_held_out,
    "binding": _binding,
    "style": _style,
    "count": _count,
    "background": _background,
}

#: The categories of the default exam.
MAIN = ("single", "colour", "pair", "pair held out")
