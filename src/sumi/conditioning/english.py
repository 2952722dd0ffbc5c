"""An English dictionary for prompts: words, their lemmas, and the drawable things that nouns are kinds of.

`sumi data wordnet` extracts the table from WordNet 3.0. It is loaded when a prompt contains a word that the model was
not taught.
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
"""WordNet's rules of detachment: an ending, and its replacement in the lemma."""


class English:
    """The table. Its lines are the drawable things, the irregular forms, the emoji, and then one line for each word."""

    @cached_property
    def _lines(self) -> list[str]:
        packed = (resources.files("sumi.conditioning") / "english.tsv.gz").read_bytes()
        return gzip.decompress(packed).decode("utf-8").rstrip("\n").split("\n")

    @cached_property
    def things(self) -> list[str]:
        """The drawable things."""
        return self._lines[0].split("\t")

    @cached_property
    def irregular(self) -> Mapping[str, str]:
        """The lemma of each irregular form: mice -> mouse."""
        return _pairs(self._lines[1])

    @cached_property
    def emoji(self) -> Mapping[str, str]:
        """The name of each emoji."""
        return _pairs(self._lines[2])

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The rest of its line for every lemma, which may have several words."""
        rows = (line.partition("\t") for line in self._lines[3:])
        return {word: rest for word, _, rest in rows}

    def lemmas(self, word: str) -> Iterator[str]:
        """Yield the lemmas that a word may be a form of, itself first."""
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
        """Return whether a word is English, in any of its forms."""
        return next(self.lemmas(word), None) is not None

    def kinds(self, lemma: str) -> list[str]:
        """Return the drawable things that a noun is a kind of, nearest first: terrier -> dog."""
        return self._things_in_column(lemma, 0)

    def near(self, lemma: str) -> list[str]:
        """Return the drawable things that are nearest in meaning to a noun: raccoon -> panda, bear."""
        return self._things_in_column(lemma, 1)

    def _things_in_column(self, lemma: str, column: int) -> list[str]:
        columns = self.words.get(lemma, "").split("\t")
        return [self.things[int(number)] for number in columns[column].split()] if column < len(columns) else []


@cache
def english() -> English:
    """Return the table, loaded once."""
    return English()


@cache
def everyday_words() -> Mapping[str, Any]:
    """Return hand-written lists of everyday words: stand-ins, fillers, scenery, names that no model was taught."""
    read: Mapping[str, Any] = json.loads((resources.files("sumi.conditioning") / "everyday.json").read_text("utf-8"))
    return read


def _pairs(line: str) -> dict[str, str]:
    return dict((first, rest) for first, _, rest in (pair.partition(" ") for pair in line.split("\t")))
