"""What one model was taught, as a prompt is read: phrases of a few words, each with what it is.

    "hot dogs" -> Phrase(THING, "hot dog", plural)        "in neon lights" -> Phrase(STYLE, "neon")

A `Lexicon` is made from a bundle's `vocabulary.json`. A model that was taught captions of its own has only their words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Any

from sumi.conditioning.english import everyday_words

__all__ = ["Kind", "Lexicon", "Phrase", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Kind(Enum):
    """What a phrase is in a prompt."""

    THING = auto()
    COLOUR = auto()
    SIZE = auto()
    COUNT = auto()
    ARTICLE = auto()
    OUTLINE = auto()
    GENDER = auto()
    TONE = auto()
    STYLE = auto()
    RELATION = auto()
    JOIN = auto()
    GROUND = auto()
    LETTERS = auto()
    BREAK = auto()
    SILENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Phrase:
    """A few words of a prompt. said: as the model is told them; written: as the prompt has them."""

    kind: Kind
    said: str
    plural: bool = False
    written: str = ""


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, signs left out."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").casefold()))


@dataclass(frozen=True)
class Lexicon:
    """The words of one model.

    record: its `vocabulary.json`; see `sumi.data.taught`. scenery: whether a forest may be drawn as a tree, which only
    helps where a prompt names nothing else.
    """

    record: Mapping[str, Any]
    scenery: bool = False

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Lexicon:
        """The lexicon of a model that was taught captions of its own."""
        return cls({"words": list(words)})

    @property
    def structured(self) -> bool:
        """Whether it is known what the words mean, and not only which there are."""
        return bool(self.record.get("nouns"))

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the captions."""
        return frozenset(self.record.get("words", ()))

    @cached_property
    def roles(self) -> frozenset[str]:
        """The names of the people who were taught with genders and tones."""
        concepts: Mapping[str, Sequence[str]] = self.record.get("concepts", {})
        return frozenset(name for role in self.record.get("roles", ()) for name in concepts.get(role, (role,)))

    @cached_property
    def stand_ins(self) -> Mapping[str, str]:
        """Everyday words, and what is drawn for them."""
        found: dict[str, str] = dict(everyday_words()["stand_ins"])
        return found | everyday_words()["scenery"] if self.scenery else found

    @cached_property
    def with_scenery(self) -> Lexicon:
        """The same lexicon, for a prompt that names nothing but scenery."""
        return replace(self, scenery=True)

    @property
    def things(self) -> dict[str, list[str]]:
        """Every thing taught, and its other names."""
        held_out = set(self.record.get("held_out", ()))
        concepts: Mapping[str, Sequence[str]] = self.record.get("concepts", {})
        return {name: [n for n in names if n != name] for name, names in concepts.items() if name not in held_out}

    def listed(self) -> dict[str, dict[str, list[str]]]:
        """What is known, by what it is: each entry, and its other names."""
        if not self.structured:
            return {"words": {word: [] for word in sorted(self.words)}}
        record, things = self.record, self.things
        styles = {name: [own for own in style["phrases"] if own != name] for name, style in record["styles"].items()}
        names = ("colours", "sizes", "counts", "relations", "shapes")
        return {
            "things": {name: others for name, others in things.items() if name not in self.roles},
            "roles": {name: others for name, others in things.items() if name in self.roles},
            "tones": {tone: [] for tone in record["tones"]},
            "styles": styles,
            **{name: {entry: [] for entry in record[name]} for name in names},
        }

    def one(self, thing: str) -> str:
        """A thing with its article."""
        return str(self.record["nouns"][thing][0])

    def several(self, thing: str) -> str:
        """A thing as it is counted: 'cups of coffee'."""
        several = str(self.record["nouns"][thing][1])
        while several in self.record["nouns"] and several != thing:  # blueberries are a thing of their own
            thing, several = several, str(self.record["nouns"][several][1])
        return several

    @cached_property
    def counts(self) -> list[str]:
        """The numbers that were taught, from two up."""
        return list(self.record.get("counts", ()))

    @cached_property
    def phrases(self) -> Mapping[tuple[str, ...], Phrase]:
        """Every phrase by its words; of two with the same words, the first below counts."""
        found: dict[tuple[str, ...], Phrase] = {}
        for text, phrase in self._listed():
            found.setdefault(words_of(text), phrase)
        return found

    @cached_property
    def longest(self) -> int:
        """How many words the longest phrase has."""
        return max(map(len, self.phrases), default=1)

    @cached_property
    def joined(self) -> Mapping[str, Phrase]:
        """The things by their names without spaces, so that 'tea pot' and 'teddybear' are found."""
        things = ((words, phrase) for words, phrase in self.phrases.items() if phrase.kind is Kind.THING)
        return {"".join(words): phrase for words, phrase in things}

    @cached_property
    def spellings(self) -> Mapping[str, Phrase]:
        """What a misspelt word may have been meant as: phrases of one word."""
        kinds = (Kind.THING, Kind.COLOUR, Kind.STYLE, Kind.COUNT, Kind.SIZE)
        return {words[0]: phrase for words, phrase in self.phrases.items() if len(words) == 1 and phrase.kind in kinds}

    def _listed(self) -> Iterator[tuple[str, Phrase]]:
        record = self.record
        for name, style in record.get("styles", {}).items():
            yield from ((text, Phrase(Kind.STYLE, name)) for text in style["phrases"])
        for thing in record.get("nouns", {}):
            yield thing, Phrase(Kind.THING, thing)
        for thing, forms in record.get("nouns", {}).items():
            yield from ((form, Phrase(Kind.THING, thing, plural=True)) for form in forms[1:])
        for tone in record.get("tones", ()):
            yield from ((f"{lead}{tone} {skin}", Phrase(Kind.TONE, tone)) for lead, skin in _SKINS)
        for text in record.get("relations", ()):
            yield text, Phrase(Kind.RELATION, text)
        for kind, own in ((Kind.COLOUR, "colours"), (Kind.SIZE, "sizes"), (Kind.COUNT, "counts")):
            yield from ((text, Phrase(kind, text)) for text in record.get(own, ()))
        yield from _GRAMMAR


_SKINS = (("", "skin"), ("", "skinned"), ("with ", "skin"), ("with ", "skin tone"), ("", "skin tone"))
_GRAMMAR: tuple[tuple[str, Phrase], ...] = (
    *((word, Phrase(Kind.ARTICLE, "a")) for word in ("a", "an", "one", "1")),
    *((str(number + 2), Phrase(Kind.COUNT, word)) for number, word in enumerate("two three four five six".split())),
    *((word, Phrase(Kind.GENDER, word)) for word in ("man", "woman", "male", "female")),
    *((word, Phrase(Kind.OUTLINE, word)) for word in ("outlined", "hollow", "open")),
    *((text, Phrase(Kind.SILENT, "")) for text in ("sticker of", "picture of", "image of", "sticker", "emoji")),
    ("1", Phrase(Kind.ARTICLE, "1")),
    ("two of the same", Phrase(Kind.COUNT, "two")),
    ("and", Phrase(Kind.JOIN, "and")),
    ("apart", Phrase(Kind.RELATION, "apart")),
    ("against", Phrase(Kind.RELATION, "against")),
    ("background", Phrase(Kind.GROUND, "background")),
    ("transparent background", Phrase(Kind.GROUND, "transparent")),
)
