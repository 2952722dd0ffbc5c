"""The split: which combinations are never taught, decided by a hash that anyone can compute again.

A combination is a short line of text such as "colour|fox|red", and

    held out  <=>  blake2b(line) / 2^64 < share of its kind

so the exam asks for combinations whose parts were all taught and whose whole never was. No whole colour,
count, relation or style is ever held out. A relation is what a scene shows and not only what its caption says: every
two things are held against the rule by which the judge marks the exam (`sumi.data.standing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from sumi.data.scene import BEARINGS, COLOURS, Scene
from sumi.data.standing import standings
from sumi.data.vocabulary import Vocabulary
from sumi.errors import SumiError

__all__ = ["SHARES", "Combination", "Split", "hash_share", "is_held_out", "relation", "says_held_out_colour"]

#: How much of each kind of combination is held out.
SHARES: Mapping[str, float] = {
    "colour": 0.20,
    "style": 0.20,
    "count": 0.20,
    "relation": 0.20,
    "person": 0.20,
    "letters": 0.30,
    "concept": 0.035,
}

#: How many accessories each bearer never has in training.
ACCESSORIES_HELD_OUT = 2

#: The commonest things people ask for are always taught.
ALWAYS_TAUGHT = frozenset(
    {
        "dog", "cat", "fox", "dog face", "cat face", "pizza", "car", "house", "tree", "flower", "sun",
        "moon", "star", "heart", "red heart", "fish", "bird", "horse", "rabbit", "bear", "lion",
        "tiger", "elephant", "monkey", "penguin", "owl", "frog", "butterfly", "rose", "apple", "banana",
        "cake", "rocket", "robot", "ghost", "guitar", "umbrella", "snowman", "unicorn", "dragon",
        "panda", "koala", "pig", "cow", "mouse", "chicken", "duck", "turtle", "snake", "whale",
        "dolphin", "octopus", "shark", "bee", "airplane", "train", "bus", "bicycle", "sailboat",
        "balloon", "book", "books", "crown", "hamburger", "coffee", "strawberry", "cherries", "lemon",
        "watermelon", "mushroom", "cactus", "rainbow", "cloud", "fire", "key", "camera", "clock",
        "gift", "t-rex", "squirrel", "crab", "wolf", "ice cream", "soccer ball", "teddy bear",
        "top hat", "hat", "glasses", "sunglasses", "scarf", "tie", "sunflower", "tulip", "palm tree",
        "pine tree", "snowflake", "cup", "birthday cake", "doughnut", "cookie", "bread", "cheese",
        "egg", "carrot", "tomato", "basketball", "piano", "drum", "trumpet", "telephone", "laptop",
        "light bulb", "ship", "tractor", "truck", "castle", "tent", "volcano", "skull", "alien",
        "smiling face", "pumpkin", "snail", "spider", "giraffe", "zebra", "sheep", "goat", "camel",
        "crocodile", "kangaroo",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Combination:
    """A kind of combination and its parts, in canonical order."""

    kind: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return "|".join((self.kind, *self.parts))


@lru_cache(maxsize=1 << 18)
def hash_share(line: str) -> float:
    """A number in [0, 1) that depends on nothing but the text."""
    return int.from_bytes(blake2b(line.encode(), digest_size=8).digest(), "big") / 2.0**64


def is_held_out(combination: Combination) -> bool:
    """Whether a combination never enters training.

    Raises SumiError for a kind that the hash alone does not decide (an accessory's needs a `Split`).
    """
    if combination.kind not in SHARES:
        raise SumiError(f"the hash alone holds out {', '.join(SHARES)}, not '{combination.kind}'")
    if combination.kind == "concept" and combination.parts[0] in ALWAYS_TAUGHT:
        return False
    return hash_share(str(combination)) < SHARES[combination.kind]


def says_held_out_colour(concept: str, name: str) -> bool:
    """Whether a name of a concept says a colour held out with it: "green salad" teaches the green of a salad."""
    words = ["gray" if word == "grey" else word for word in name.split()]
    return any(is_held_out(Combination("colour", (concept, colour))) for colour in COLOURS if colour in words)


_MIRROR = {"right of": "left of", "below": "above"}


def relation(subject: str, name: str, obj: str) -> Combination:
    """A spatial relation, with "right of" and "below" written as their mirror images."""
    if name in _MIRROR:
        return Combination("relation", (obj, _MIRROR[name], subject))
    return Combination("relation", (subject, name, obj))


def combinations(scene: Scene, placed: bool = True) -> Iterator[Combination]:
    """Every combination that a scene shows; without `placed`, of relations only those that its caption can name."""
    for thing in scene.things:
        yield Combination("concept", (thing.concept,))
        if thing.colour is not None:
            yield Combination("colour", (thing.concept, thing.colour))
        if thing.count > 1:
            yield Combination("count", (thing.concept, str(thing.count)))
        if scene.style is not None:
            yield Combination("style", (thing.concept, scene.style))
        if thing.gender is not None or thing.tone is not None or scene.kind == "person":
            who = (thing.concept, thing.tone or "default", thing.gender or "person")
            yield Combination("person", who)
    if scene.lettering is not None:
        yield Combination("letters", (scene.lettering.text,))
    for standing in standings(scene) if placed else ():
        yield relation(*standing)
    link = scene.relation
    if link is None or not scene.things:
        return
    subject = scene.things[link.subject].concept
    if link.name in BEARINGS:
        yield Combination("accessory", (subject, scene.things[link.object].concept))
    elif link.name == "inside" and scene.shapes:
        yield Combination("relation", (subject, "inside", scene.shapes[link.object].name))
    else:
        yield relation(subject, link.name, scene.things[link.object].concept)


@dataclass(frozen=True)
class Split:
    """The split of a vocabulary whose `accessories` can be worn, held or ridden."""

    accessories: tuple[str, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Split:
        """The split with every accessory of a vocabulary."""
        can = [c for c in vocabulary if c.facets.wearable or c.facets.holdable or c.facets.rideable]
        return cls(tuple(sorted(concept.name for concept in can)))

    def held_out(self, combination: Combination) -> bool:
        """Whether a combination never enters training.

        Each bearer goes without the two accessories whose lines hash lowest.
        """
        if combination.kind == "accessory":
            bearer, accessory = combination.parts
            return accessory in _lowest(bearer, self.accessories)
        return is_held_out(combination)

    def held_out_in(self, scene: Scene, placed: bool = True) -> frozenset[str]:
        """The kinds of combination that a scene shows and training never does; `placed` as in `combinations`."""
        return frozenset(c.kind for c in combinations(scene, placed) if self.held_out(c))


@lru_cache(maxsize=1 << 14)
def _lowest(bearer: str, accessories: tuple[str, ...]) -> frozenset[str]:
    ranked = sorted(accessories, key=lambda name: hash_share(f"accessory|{bearer}|{name}"))
    return frozenset(ranked[:ACCESSORIES_HELD_OUT])
