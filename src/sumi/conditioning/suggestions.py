"""Prompts that would work, for one of which nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from sumi.conditioning.english import english
from sumi.conditioning.lexicon import Kind, Lexicon, words_of

MOST = 3
USUAL = ("fox", "rocket", "birthday cake")

PEOPLE = ("man", "woman", "male", "female", "person", "boy", "girl", "people", "artist", "men", "women")


def suggestions(unknown: Sequence[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Three prompts of one thing each, those nearest in meaning to unknown words first."""
    if not lexicon.structured:
        return tuple(sorted(word for word in lexicon.words if len(word) > MOST)[:MOST])
    people = [name for name in lexicon.things if name in lexicon.roles]
    near = [people if word in PEOPLE else _near(word) for word in unknown if not word.endswith(" skin")]
    found = [thing for thing in chain.from_iterable(zip_longest(*near)) if thing is not None]
    phrases = (lexicon.phrases.get(words_of(thing)) for thing in (*found, *USUAL, *lexicon.things))
    known = dict.fromkeys(phrase.said for phrase in phrases if phrase is not None and phrase.kind is Kind.THING)
    return tuple(lexicon.one(thing) for thing in list(known)[:MOST])


def _near(word: str) -> list[str]:
    """The things nearest to a word, or to the last of several."""
    for text in (word, word.rpartition(" ")[2]):
        for lemma in english().lemmas(text):
            if near := english().near(lemma):
                return near
    return []
