"""Suggestions for a prompt of which the model knows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from sumi.conditioning.english import english
from sumi.conditioning.lexicon import Kind, Lexicon, words_of

__all__ = ["NEGATIONS", "suggest_prompts"]

MOST = 3
SHORTEST_SHARED = 4
"""The least length of a word that two names may share; shorter words are "of", "and", "the"."""
USUAL = ("fox", "rocket", "birthday cake")

NEGATIONS = frozenset({"without", "no", "not", "never", "minus", "except", "lacking"})
PEOPLE = ("man", "woman", "male", "female", "person", "boy", "girl", "people", "artist", "men", "women")


def suggest_prompts(unknown: Sequence[str], lexicon: Lexicon) -> tuple[str, ...]:
    """Return three prompts of one thing each, those nearest in meaning to the unknown words first."""
    if not lexicon.structured:
        return tuple(sorted(word for word in lexicon.words if len(word) > MOST)[:MOST])
    people = [name for name in lexicon.things if name in lexicon.roles]
    words = [word for word in unknown if not word.endswith(" skin") and word.split()[0] not in NEGATIONS]
    near = [people if word in PEOPLE else [*_things_sharing(word, lexicon), *_nearest_things(word)] for word in words]
    found = [thing for thing in chain.from_iterable(zip_longest(*near)) if thing is not None]
    phrases = (lexicon.phrases.get(words_of(thing)) for thing in (*found, *USUAL, *lexicon.things))
    known = dict.fromkeys(phrase.canonical for phrase in phrases if phrase is not None and phrase.kind is Kind.THING)
    return tuple(lexicon.singular(thing) for thing in list(known)[:MOST])


def _things_sharing(text: str, lexicon: Lexicon) -> list[str]:
    """Return the things that share a word with a text: coffee shop -> cup of coffee."""
    words = {word for word in words_of(text) if len(word) >= SHORTEST_SHARED}
    named = {name: words_of(" ".join((name, *others))) for name, others in lexicon.things.items()}
    return [name for name, own in named.items() if words & set(own)]


def _nearest_things(word: str) -> list[str]:
    """Return the things nearest in meaning to a word, or to the last of several words."""
    for text in (word, word.rpartition(" ")[2]):
        for lemma in english().lemmas(text):
            if near := english().near(lemma):
                return near
    return []
