"""Vocabulary: the things a model can be asked for, what they are called, and who has drawn them.

Idea: a `Concept` is one thing, whatever its icons are called. Skin tones and genders of a role are variants
of one concept. A word names at most one concept: claimed by several, it goes to the one whose name it is,
else to the first that has it among its written names; a CLDR keyword counts only if nobody else has it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from sumi.data.artwork import Artwork
from sumi.data.entries import Entry, everyday_entries, full_entries, wide_entries
from sumi.data.facets import Anchors, Facets, anchors_of, facets_of
from sumi.data.icon_names import by_standard_name
from sumi.data.people import GENDERS, TONES, Person, gender_icon, tone_icon
from sumi.data.words import Annotation, table
from sumi.errors import SumiError

__all__ = ["Concept", "Variant", "Vocabulary"]

VOCABULARIES = ("everyday", "full", "wide")
FIRST_ARTISTS = ("noto", "fluent", "twemoji")
"""The artists of the everyday and the full vocabulary, whatever else lies beside their drawings."""


@dataclass(frozen=True)
class Variant:
    """One look of a concept: hand -> icon name, and for a role whom it shows."""

    icons: Mapping[str, str]
    person: Person | None = None


@dataclass(frozen=True)
class Concept:
    """One thing a person can ask for. `icon` is its icon name in every hand, `words` its names, best first.

    `variants` is never empty; only roles have more than one, and the first is the plain one.
    """

    name: str
    icon: str
    category: str
    words: tuple[str, ...]
    variants: tuple[Variant, ...]

    @property
    def icons(self) -> Mapping[str, str]:
        """Hand -> icon name of the plain variant."""
        return self.variants[0].icons

    @property
    def person(self) -> bool:
        """Whether the concept is a role with skin tones and genders."""
        return self.variants[0].person is not None

    @property
    def facets(self) -> Facets:
        """What it can do in a scene: be worn, held, ridden, or hold another thing."""
        return facets_of(self.icon)

    def anchors(self, hand: str) -> Anchors | None:
        """Where things go on it as drawn by `hand`; None if it bears nothing."""
        return anchors_of(self.icon, hand)


@dataclass(frozen=True)
class Vocabulary:
    """Concepts in a stable order. Concept ids are positions in `concepts`."""

    concepts: tuple[Concept, ...]

    @classmethod
    def everyday(cls, artworks: Sequence[Artwork]) -> Vocabulary:
        """The curated everyday things that each of FIRST_ARTISTS has drawn, or the one font there is.

        Their words are all written down beside this module, so that they never depend on a CLDR version.
        """
        drawn = _by_hand(_of_first_artists(artworks))
        concepts = [_concept(entry, drawn) for entry in everyday_entries()]
        return cls(_share_words([c for c in concepts if c.variants and set(c.icons) == set(drawn)], {}))

    @classmethod
    def full(cls, artworks: Sequence[Artwork], annotations: Mapping[str, Annotation] | None = None) -> Vocabulary:
        """Everything that one of FIRST_ARTISTS has drawn, but flags, clock faces and symbol buttons."""
        drawn = _by_hand(_of_first_artists(artworks))
        base = artworks if "noto" not in drawn else drawn["noto"].values()
        entries = full_entries(base, annotations or {})
        concepts = [concept for entry in entries if (concept := _concept(entry, drawn)).variants]
        return cls(_share_words(concepts, annotations or {}))

    @classmethod
    def wide(cls, artworks: Sequence[Artwork]) -> Vocabulary:
        """What two artists or more have drawn, less what `left_out.txt` gives a reason for leaving out.

        Its words are written down beside this module as those of the everyday things are.
        """
        drawn = by_standard_name(artworks)
        concepts = [_concept(entry, drawn, standard=True) for entry in wide_entries(drawn)]
        return cls(_share_words(concepts, {}))

    @classmethod
    def named(
        cls, name: str, artworks: Sequence[Artwork], annotations: Mapping[str, Annotation] | None = None
    ) -> Vocabulary:
        """The vocabulary called `name`, one of VOCABULARIES; raises SumiError for another name."""
        if name == "everyday":
            return cls.everyday(artworks)
        if name == "full":
            return cls.full(artworks, annotations)
        if name == "wide":
            return cls.wide(artworks)
        raise SumiError(f"there is no vocabulary '{name}': choose from {', '.join(VOCABULARIES)}")

    @classmethod
    def having(
        cls,
        names: Collection[str],
        artworks: Sequence[Artwork],
        annotations: Mapping[str, Annotation] | None = None,
    ) -> Vocabulary:
        """The named concepts, as the first of VOCABULARIES has them that has them all: what a model was taught.

        So a model, and a judge, is asked about its own concepts, whatever has been drawn since. Raises SumiError where
        no vocabulary has them all.
        """
        for name in VOCABULARIES:
            found = cls.named(name, artworks, annotations)
            if set(names) <= set(found.names):
                return found.subset(names)
        unknown = sorted(set(names) - set(found.names))
        raise SumiError(f"the artwork has no {unknown[0]!r}, nor {len(unknown) - 1} others of {len(names)} concepts")

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every concept, in order of their ids."""
        return tuple(concept.name for concept in self.concepts)

    @cached_property
    def by_word(self) -> Mapping[str, Concept]:
        """Lower-case word -> the one concept it names."""
        return {word.lower(): concept for concept in self.concepts for word in concept.words}

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Concept name -> id."""
        return {concept.name: number for number, concept in enumerate(self.concepts)}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all concepts and their words: captions are made of these."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    def find(self, word: str) -> Concept | None:
        """The concept that `word` names, in any case, or None."""
        return self.by_word.get(word.strip().lower())

    def __getitem__(self, name: str) -> Concept:
        """The concept called `name`; raises SumiError for a name that is none of `names`."""
        if name not in self.ids:
            raise SumiError(f"'{name}' is not a concept of this vocabulary of {len(self.concepts)}")
        return self.concepts[self.ids[name]]

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    def __contains__(self, name: object) -> bool:
        return name in self.ids

    def subset(self, names: Iterable[str]) -> Vocabulary:
        """Only the named concepts, in this vocabulary's order."""
        wanted = set(names)
        for name in sorted(wanted - set(self.names)):
            self[name]
        return Vocabulary(tuple(c for c in self.concepts if c.name in wanted))

    def to_json(self) -> dict[str, Any]:
        """The whole vocabulary as a JSON-able dict."""
        return {"concepts": [asdict(concept) for concept in self.concepts]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary read back from `to_json`; raises SumiError when a field is missing."""
        try:
            return cls(tuple(_concept_from_json(entry) for entry in record["concepts"]))
        except (KeyError, TypeError, IndexError) as error:
            raise SumiError(f"this is not a vocabulary: field {error} is missing or malformed") from error


def _concept_from_json(entry: Mapping[str, Any]) -> Concept:
    variants = tuple(
        Variant(dict(v["icons"]), Person(**v["person"]) if v["person"] else None) for v in entry["variants"]
    )
    return Concept(entry["name"], entry["icon"], entry["category"], tuple(entry["words"]), variants)


def _by_hand(artworks: Sequence[Artwork]) -> dict[str, dict[str, Artwork]]:
    """Hand -> icon name or alias -> drawing; a drawing's own name beats another's alias."""
    drawn: dict[str, dict[str, Artwork]] = {}
    for art in artworks:
        for alias in art.aliases:
            drawn.setdefault(art.hand, {}).setdefault(alias, art)
    for art in artworks:
        drawn.setdefault(art.hand, {})[art.name] = art
    return drawn


def _of_first_artists(artworks: Sequence[Artwork]) -> Sequence[Artwork]:
    """The drawings of FIRST_ARTISTS; all where there are none, which are those of a font."""
    return [art for art in artworks if art.hand in FIRST_ARTISTS] or artworks


def _concept(entry: Entry, drawn: Mapping[str, Mapping[str, Artwork]], standard: bool = False) -> Concept:
    """The concept of an entry; `standard` where the drawings go by their standard names."""
    people: list[Person | None] = [None]
    if entry.role:
        people = [Person(entry.names[0], gender, tone) for gender in GENDERS for tone in TONES]
    variants = []
    for person in people:
        icons = {}
        for hand, arts in drawn.items():
            icon = entry.icon
            if person is not None:
                icon = tone_icon(gender_icon(entry.icon, person.gender), person.tone, "" if standard else hand)
            if icon in arts:
                icons[hand] = arts[icon].name
        if icons:
            variants.append(Variant(icons, person))
    return Concept(entry.names[0], entry.icon, entry.category, entry.names, tuple(variants))


def _share_words(concepts: Sequence[Concept], annotations: Mapping[str, Annotation]) -> tuple[Concept, ...]:
    """Give each concept the words that are its alone, so that a word never means two things."""
    names = {concept.name.lower() for concept in concepts}
    written: dict[str, str] = {}
    for concept in concepts:
        for word in concept.words:
            written.setdefault(word.lower(), concept.icon)
    offered = {c.icon: _keywords(annotations.get(c.icon), c) for c in concepts}
    claims = Counter(word.lower() for words in offered.values() for word in words)
    shared = []
    for concept in concepts:
        own = [w for w in concept.words[1:] if w.lower() not in names and written[w.lower()] == concept.icon]
        free = (w for w in offered[concept.icon] if w.lower() not in names and w.lower() not in written)
        extra = [w for w in free if claims[w.lower()] == 1]
        words = tuple(dict.fromkeys((concept.name, *own, *extra)))
        shared.append(Concept(concept.name, concept.icon, concept.category, words, concept.variants))
    return tuple(shared)


def _keywords(annotation: Annotation | None, concept: Concept) -> tuple[str, ...]:
    if annotation is None:
        return ()
    known = {word.lower() for word in concept.words}
    vague = set(table("english")["vague"])
    plain = (w for w in dict.fromkeys((annotation.name, *annotation.keywords)) if w.isascii())
    return tuple(w for w in plain if w.lower() not in known | vague and w.replace(" ", "").isalpha())
