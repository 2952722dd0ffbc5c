"""What a model was taught to understand, as its `vocabulary.json` says it: things, and the language of the captions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from sumi.data.glyphs import FIGURES
from sumi.data.grammar import (
    HAND_WORDS,
    RELATION_PHRASES,
    SIZE_WORDS,
    STYLE_KEYWORDS,
    STYLE_PHRASES,
    replace_gender,
)
from sumi.data.people import TONES
from sumi.data.scene import COLOURS
from sumi.data.split import Combination, is_held_out
from sumi.data.words import article, counted, plural

__all__ = ["noun", "record", "styles"]

SHAPES = (*FIGURES, "convex shape", "concave shape")
COUNTS = ("two", "three", "four", "five", "six")


def record(
    concepts: Mapping[str, Sequence[str]], roles: Collection[str], words: Sequence[str], artists: Collection[str]
) -> dict[str, Any]:
    """The vocabulary of a bundle.

    Args:
        concepts: Every concept and its names, the held-out ones among them.
        roles: The concepts that have genders and tones.
        words: Those of the tokenizer.
        artists: Whose drawings were learned from; their manners can be asked for.
    """
    held_out = [name for name in concepts if is_held_out(Combination("concept", (name,)))]
    people = [name for name in concepts if name in roles and name not in held_out]
    gendered = list(dict.fromkeys(_gendered_names(concepts, people)))
    names = [name for concept, own in concepts.items() if concept not in held_out for name in own]
    return {
        "concepts": {name: list(own) for name, own in concepts.items()},
        "words": list(words),
        "held_out": held_out,
        "roles": [name for name in concepts if name in roles],
        "nouns": {name: noun(name) for name in dict.fromkeys((*names, *SHAPES, *gendered))},
        "gendered": gendered,
        "shapes": list(SHAPES),
        "colours": [*COLOURS, "grey"],
        "sizes": [word for own in SIZE_WORDS.values() for word in own],
        "counts": list(COUNTS),
        "tones": [tone.replace("-", " ") for tone in TONES if tone != "default"],
        "relations": sorted({said for own in RELATION_PHRASES.values() for said in map(_between, own) if said}),
        "styles": styles(artists),
    }


def _gendered_names(concepts: Mapping[str, Sequence[str]], roles: Collection[str]) -> Iterator[str]:
    """The names of roles as captions say them of a man or a woman, where a name alone does not tell.

    A model that was also taught men and women as such would otherwise read "a woman chef" as a woman and a chef.
    """
    for role in roles:
        for name, gender in product(concepts[role], ("man", "woman")):
            if (gendered := replace_gender(name, gender)) != name:
                yield gendered
            elif "man" in concepts and name not in ("man", "woman"):
                yield from (f"{word} {name}" for word in (gender, {"man": "male", "woman": "female"}[gender]))


def noun(name: str) -> list[str]:
    """A name as one thing and as several: ['an owl', 'owls'], ['glasses', 'pairs of glasses']."""
    return [article(name), counted(2, name).partition(" ")[2], plural(name)]


def styles(artists: Collection[str]) -> dict[str, dict[str, Any]]:
    """Each style, and each artist's manner: how a caption says it of {}, and the phrases by which it is known."""
    found = {
        style: {"said": said[0].replace("{0}", "{}"), "phrases": sorted({*map(_bare, said), *STYLE_KEYWORDS[style]})}
        for style, said in STYLE_PHRASES.items()
    }
    hands = {
        said[0]: {"said": f"{{}}, {said[0]}", "phrases": [lead + name for name in said for lead in ("", "in ")]}
        for artist, said in HAND_WORDS.items()
        if artist in artists
    }
    return found | hands


def _bare(phrase: str) -> str:
    """A phrase of a style without the thing and the article: 'a pencil drawing of {}' -> 'pencil drawing of'."""
    bare = re.sub(r"\{\d?\}|,", " ", phrase)
    return re.sub(r"^(a|the) ", "", " ".join(bare.split()))


def _between(phrase: str) -> str:
    """What stands between the two things of a relation."""
    return phrase.removeprefix("{}").removesuffix("{}").strip() if phrase.endswith("{}") else ""
