"""A new word: what a person calls the thing in their pictures, and the taught thing that it is first taken for.

    "my cat Mochi"  ->  word mochi, plural mochis, alias "my cat mochi", stand-in cat

The new word gets a token of its own, whose embedding is learned (Gal et al. 2022, arXiv 2208.01618). The stand-in gives
its first embedding, as the class noun does in DreamBooth (Ruiz et al. 2022, arXiv 2208.12242, section 3.2). It also
takes the word's place in the layout planner, which learns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.conditioning import Lexicon, WordTokenizer
from sumi.conditioning.interpretation import FUNCTION_WORDS
from sumi.conditioning.lexicon import Kind, words_of
from sumi.conditioning.phrase_splitter import split_phrases
from sumi.data.words import article, plural
from sumi.errors import SumiError

__all__ = ["NewWord", "StandIn", "extend_record", "extend_tokenizer", "parse_concept", "stand_ins"]

FIRST_TOKEN = 258
"""The first id of a taught word (see `sumi.conditioning.tokenizer`)."""


@dataclass(frozen=True)
class StandIn:
    """A taught thing whose singular and plural are one token each: the thing and the two ids."""

    thing: str
    one: int
    several: int


@dataclass(frozen=True)
class NewWord:
    """What a thing is called: the word, its plural, the whole name, and the taught thing it is said to be, or ""."""

    word: str
    plural: str
    concept: str
    kind: str = ""

    @property
    def forms(self) -> tuple[str, str]:
        """The words that get tokens."""
        return self.word, self.plural


def parse_concept(concept: str, lexicon: Lexicon, tokenizer: WordTokenizer) -> NewWord:
    """Return the new word in a name such as "my cat Mochi": the last word of it that the model does not know.

    Raises:
        SumiError: the model knows every word of it, or there is none.
    """
    words = words_of(concept)
    known = {"my", "our", "your", "the", "a", "an", "named", "called", *tokenizer.words, *lexicon.words}
    new = [word for word in words if word not in known]
    if not new:
        reason = f"the model knows every word of {concept!r:.60} already" if words else "a thing needs a name"
        raise SumiError(f'{reason}: give it one of its own, such as --as "my cat Mochi"')
    word = new[-1]
    phrases, _ = split_phrases(" ".join(own for own in words if own not in new), lexicon)
    things = [phrase.canonical for phrase in phrases if phrase.kind is Kind.THING]
    several = plural(word)
    return NewWord(word, several if several != word and several not in known else f"{word}s", concept.strip(),
                   things[-1] if things and lexicon.structured else "")  # fmt: skip


def stand_ins(lexicon: Lexicon, tokenizer: WordTokenizer) -> list[StandIn]:
    """Return every taught thing that can stand in for a new word."""
    ids = {word: FIRST_TOKEN + number for number, word in enumerate(tokenizer.words)}
    if not lexicon.structured:
        return [StandIn(word, own, own) for word, own in ids.items() if word not in FUNCTION_WORDS]
    forms = {thing: lexicon.record["nouns"].get(thing, (thing, thing)) for thing in lexicon.things}
    return [
        StandIn(thing, ids[thing], ids[plural])
        for thing, (singular, plural, *_) in forms.items()
        if thing in ids and plural in ids and singular == article(thing)
    ]


def extend_tokenizer(tokenizer: WordTokenizer, words: Sequence[NewWord]) -> WordTokenizer:
    """Return the tokenizer with two further tokens for each word; SumiError where it has one of them already."""
    forms = [form for word in words for form in word.forms]
    twice = next((form for form in forms if form in tokenizer.words or forms.count(form) > 1), None)
    if twice is not None:
        raise SumiError(f"the word {twice!r} is taught twice: combine adapters of different words")
    return WordTokenizer((*tokenizer.words, *forms), tokenizer.context)


def extend_record(record: Mapping[str, Any], words: Sequence[NewWord]) -> dict[str, Any]:
    """Return a model's vocabulary (see `sumi.data.taught`) with new things."""
    more = dict(record)
    more["words"] = [*record.get("words", ()), *(form for word in words for form in word.forms)]
    more["concepts"] = {**record.get("concepts", {}), **{word.word: [word.word] for word in words}}
    if record.get("nouns"):
        nouns = {word.word: [article(word.word), word.plural, word.plural] for word in words}
        more["nouns"] = {**record["nouns"], **nouns}
        aliases = {" ".join(words_of(word.concept)): word.word for word in words}
        more["aliases"] = {**record.get("aliases", {}), **{name: own for name, own in aliases.items() if name != own}}
    return more
