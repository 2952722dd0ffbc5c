"""English as far as prompts need it: its words, their lemmas, and the drawable things that nouns are kinds of.

The table is cut from WordNet 3.0 by `sumi data wordnet`. It is read when a prompt has a word that the model was not
taught, and not before.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Any

__all__ = ["English", "english", "everyday_words"]

ENDINGS = (
    ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("ies", "y"), ("ves", "f"),
    ("men", "man"), ("s", ""), ("es", "e"), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""), ("er", ""), ("est", ""),
    ("er", "e"), ("est", "e"),
)  # fmt: skip
"""WordNet's rules of detachment: an ending, and what stands for it in the lemma."""


class English:
    """The table: its lines hold the drawable things, irregular forms, emoji, and then a word each."""

    @cached_property
    def _lines(self) -> list[str]:
        packed = (resources.files("sumi.conditioning") / "english.tsv.gz").read_bytes()
        return gzip.decompress(packed).decode("utf-8").rstrip("\n").split("\n")

    @cached_property
    def things(self) -> list[str]:
        """The drawable things that a word may be a kind of."""
        return self._lines[0].split("\t")

    @cached_property
    def irregular(self) -> Mapping[str, str]:
        """Irregular forms -> their lemmas: mice -> mouse."""
        return _pairs(self._lines[1])

    @cached_property
    def emoji(self) -> Mapping[str, str]:
        """Emoji -> what they are called."""
        return _pairs(self._lines[2])

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Every lemma, several words joined by spaces, and the rest of its line."""
        rows = (line.partition("\t") for line in self._lines[3:])
        return {word: rest for word, _, rest in rows}

    def lemmas(self, word: str) -> Iterator[str]:
        """The lemmas that a word may be a form of, itself first."""
        if word in self.words:
            yield word
        if word in self.irregular:
            yield self.irregular[word]
        for ending, base in ENDINGS:
            lemma = word[: len(word) - len(ending)] + base
            if word.endswith(ending) and len(lemma) > 1 and lemma in self.words:
                yield lemma
            doubled = ending in ("ed", "ing") and word.endswith(ending) and lemma[-2:-1] == lemma[-1:]
            if doubled and lemma[:-1] in self.words:  # running -> run
                yield lemma[:-1]

    def is_word(self, word: str) -> bool:
        """Whether a word is English, in any of its forms."""
        return next(self.lemmas(word), None) is not None

    def kinds(self, lemma: str) -> list[str]:
        """The drawable things that a noun is a kind of, nearest first: terrier -> dog."""
        return self._listed(lemma, 0)

    def near(self, lemma: str) -> list[str]:
        """The drawable things that are nearest in meaning to a noun: raccoon -> panda, bear."""
        return self._listed(lemma, 1)

    def _listed(self, lemma: str, column: int) -> list[str]:
        columns = self.words.get(lemma, "").split("\t")
        return [self.things[int(number)] for number in columns[column].split()] if column < len(columns) else []


@cache
def english() -> English:
    """The table, read once."""
    return English()


@cache
def everyday_words() -> Mapping[str, Any]:
    """Everyday words, written by hand: what stands in for them, what carries nothing, what no model here was taught."""
    read: Mapping[str, Any] = json.loads((resources.files("sumi.conditioning") / "everyday.json").read_text("utf-8"))
    return read


def _pairs(line: str) -> dict[str, str]:
    return dict((first, rest) for first, _, rest in (pair.partition(" ") for pair in line.split("\t")))
