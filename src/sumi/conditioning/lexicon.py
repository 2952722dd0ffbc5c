"""The vocabulary of one model: the phrases that it was taught, and the part of speech of each.

    "hot dogs" -> Phrase(THING, "hot dog", plural)        "in neon lights" -> Phrase(STYLE, "neon")

A `Lexicon` is built from a bundle's `vocabulary.json`. For a model that was trained on the user's own captions it holds
only their words.
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
    """The part of speech of a phrase."""

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
    CONJUNCTION = auto()
    BACKGROUND = auto()
    QUOTE = auto()
    BREAK = auto()
    FILLER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Phrase:
    """A few words of a prompt.

    Args:
        kind: their part of speech.
        canonical: the form that training captions use.
        plural: whether they are a plural.
        surface: the words as the prompt has them.
    """

    kind: Kind
    canonical: str
    plural: bool = False
    surface: str = ""


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, without punctuation."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").casefold()))


@dataclass(frozen=True)
class Lexicon:
    """The vocabulary of one model.

    Args:
        record: its `vocabulary.json`; see `sumi.data.taught`.
        scenery: whether scenery may stand for a thing, as a tree for "forest"; used where a prompt names nothing else.
    """

    record: Mapping[str, Any]
    scenery: bool = False

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Lexicon:
        """Return the lexicon of a model that was trained on the user's own captions."""
        return cls({"words": list(words)})

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Lexicon:
        """Return the lexicon of a bundle's vocabulary: with meanings where it has them, else of its words alone."""
        lexicon = cls(record)
        return lexicon if lexicon.structured else cls.of_words(record.get("words", ()))

    @property
    def structured(self) -> bool:
        """Whether the record gives the meaning of the words, and not only a list of them."""
        return bool(self.record.get("nouns"))

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the training captions."""
        return frozenset(self.record.get("words", ()))

    @cached_property
    def aliases(self) -> Mapping[tuple[str, ...], str]:
        """Longer names of a thing that captions call by one word: my cat mochi -> mochi."""
        return {words_of(text): thing for text, thing in self.record.get("aliases", {}).items()}

    @cached_property
    def roles(self) -> frozenset[str]:
        """The names of the people that were taught with genders and skin tones, also as a man's and a woman's."""
        concepts: Mapping[str, Sequence[str]] = self.record.get("concepts", {})
        names = (name for role in self.record.get("roles", ()) for name in concepts.get(role, (role,)))
        return frozenset((*names, *self.record.get("gendered", ())))

    @property
    def has_people(self) -> bool:
        """Whether people as such were taught, and not only some who do something."""
        return "person" in self.roles

    @cached_property
    def stand_ins(self) -> Mapping[str, str]:
        """Everyday words, and the taught word that stands in for each: the first of its list that was taught."""
        lists: dict[str, str | list[str]] = dict(everyday_words()["stand_ins"])
        lists |= everyday_words()["scenery"] if self.scenery else {}
        choices = {word: [own] if isinstance(own, str) else own for word, own in lists.items()}
        taught = {word: (name for name in names if words_of(name) in self.phrases) for word, names in choices.items()}
        return {word: name for word, names in taught.items() if (name := next(names, None)) is not None}

    @cached_property
    def with_scenery(self) -> Lexicon:
        """The same lexicon, for a prompt that names only scenery."""
        return replace(self, scenery=True)

    @property
    def things(self) -> dict[str, list[str]]:
        """Every taught thing, and its other names."""
        held_out = set(self.record.get("held_out", ()))
        concepts: Mapping[str, Sequence[str]] = self.record.get("concepts", {})
        return {name: [n for n in names if n != name] for name, names in concepts.items() if name not in held_out}

    def list_entries(self) -> dict[str, dict[str, list[str]]]:
        """Return the vocabulary by part of speech: each entry, and its other names."""
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

    def singular(self, thing: str) -> str:
        """Return a thing with its article."""
        return str(self.record["nouns"][thing][0])

    def plural(self, thing: str) -> str:
        """Return the plural of a thing: 'cups of coffee'."""
        plural = str(self.record["nouns"][thing][1])
        while plural in self.record["nouns"] and plural != thing:  # "blueberries" is a thing of its own
            thing, plural = plural, str(self.record["nouns"][plural][1])
        return plural

    @cached_property
    def counts(self) -> list[str]:
        """The taught number words, from two up."""
        return list(self.record.get("counts", ()))

    @cached_property
    def phrases(self) -> Mapping[tuple[str, ...], Phrase]:
        """Every phrase by its words; the first of `_list_phrases` wins."""
        found: dict[tuple[str, ...], Phrase] = {}
        for text, phrase in self._list_phrases():
            found.setdefault(words_of(text), phrase)
        return found

    @cached_property
    def longest(self) -> int:
        """The number of words of the longest phrase."""
        return max(map(len, self.phrases), default=1)

    @cached_property
    def without_spaces(self) -> Mapping[str, Phrase]:
        """Things by their names without spaces, so that 'tea pot' and 'teddybear' are found."""
        things = ((words, phrase) for words, phrase in self.phrases.items() if phrase.kind is Kind.THING)
        return {"".join(words): phrase for words, phrase in things}

    @cached_property
    def spellings(self) -> Mapping[str, Phrase]:
        """Phrases of one word, the candidates for a misspelt word."""
        kinds = (Kind.THING, Kind.COLOUR, Kind.STYLE, Kind.COUNT, Kind.SIZE)
        return {words[0]: phrase for words, phrase in self.phrases.items() if len(words) == 1 and phrase.kind in kinds}

    def _list_phrases(self) -> Iterator[tuple[str, Phrase]]:
        record = self.record
        for name, style in record.get("styles", {}).items():
            yield from ((text, Phrase(Kind.STYLE, name)) for text in style["phrases"])
        yield from ((text, Phrase(Kind.THING, thing)) for text, thing in record.get("aliases", {}).items())
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
    *((text, Phrase(Kind.FILLER, "")) for text in ("sticker of", "picture of", "image of", "sticker", "emoji")),
    ("1", Phrase(Kind.ARTICLE, "1")),
    ("two of the same", Phrase(Kind.COUNT, "two")),
    ("and", Phrase(Kind.CONJUNCTION, "and")),
    ("apart", Phrase(Kind.RELATION, "apart")),
    ("against", Phrase(Kind.RELATION, "against")),
    *((text, Phrase(Kind.RELATION, text)) for text in ("behind", "in front of", "between")),
    ("background", Phrase(Kind.BACKGROUND, "background")),
    ("transparent background", Phrase(Kind.BACKGROUND, "transparent")),
)
