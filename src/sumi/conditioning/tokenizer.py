"""The tokenizer: one token for each taught word, and bytes for every other word.

A prompt is split into words, numbers and quoted strings. A taught word is one token; any other word is its UTF-8 bytes.
A quoted string is always bytes, because its letters are to be drawn, and character-aware text encoders spell far better
(Liu et al. 2023, arXiv 2212.10562). Ids: 0 padding, 1 end of text, 2 to 257 bytes, from 258 words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

__all__ = ["FIRST_BYTE", "WordTokenizer"]

PAD, END, FIRST_BYTE, FIRST_WORD = 0, 1, 2, 258
_PIECE = re.compile(r'"[^"]*"|[^\W_]+(?:\'[^\W_]+)*|[^\w\s]')
_STRAIGHT = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'"})
_SILENT = frozenset(",.;:!?-–—()[]'\"")


class WordTokenizer:
    """A mapping from prompts to token ids.

    Args:
        words: the taught words, in the order of their ids.
        context: the length L of an encoded prompt.
    """

    def __init__(self, words: Sequence[str], context: int) -> None:
        self.words, self.context = tuple(words), context
        self._ids = {word: FIRST_WORD + number for number, word in enumerate(self.words)}

    @classmethod
    def learn(cls, captions: Iterable[str], context: int, minimum: int = 3) -> WordTokenizer:
        """Return a tokenizer of every word outside quotes that occurs at least `minimum` times in the captions."""
        counts = Counter(piece for caption in captions for piece in _pieces(caption) if _is_word(piece))
        return cls(sorted(word for word, count in counts.items() if count >= minimum), context)

    def with_words(self, captions: Iterable[str], minimum: int = 2) -> WordTokenizer:
        """Return a tokenizer that also knows the words of captions that occur `minimum` times; known ids stay."""
        further = WordTokenizer.learn(captions, self.context, minimum).words
        return WordTokenizer((*self.words, *(word for word in further if word not in self._ids)), self.context)

    @property
    def size(self) -> int:
        """The number of ids."""
        return FIRST_WORD + len(self.words)

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text without end and padding, not cut to the context."""
        ids: list[int] = []
        for piece in _pieces(text):
            known = self._ids.get(piece)
            ids += [known] if known is not None else [FIRST_BYTE + byte for byte in _bytes(piece)]
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """Return a text with these ids: words separated by spaces, bytes decoded as UTF-8."""
        pieces: list[str] = []
        for is_word, run in groupby(ids, lambda token: token >= FIRST_WORD):
            if is_word:
                pieces += [self.words[token - FIRST_WORD] for token in run]
            else:
                written = bytes(token - FIRST_BYTE for token in run if token >= FIRST_BYTE)
                pieces.append(written.decode("utf-8", errors="ignore"))
        return " ".join(filter(None, pieces))

    def singular_ids(self, token: int) -> list[int]:
        """Return the ids of words whose plural this word may be, by their first letters: wolves -> wolf."""
        if token < FIRST_WORD:
            return []
        word = self.words[token - FIRST_WORD]
        return [
            own
            for short, own in self._ids.items()
            if len(short) < len(word) <= len(short) + 3 and word.startswith(short[: max(3, len(short) - 1)])
        ]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return texts as int64 (B, L): ids, END, then PAD. A long text is cut; the empty text is all PAD."""
        rows = torch.zeros(len(texts), self.context, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.ids(text)[: self.context - 1]
            if ids:
                row[: len(ids) + 1] = torch.tensor([*ids, END])
        return rows

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text, outside quotes, that were not taught, in order and without repeats."""
        strange = [piece for piece in _pieces(text) if _is_word(piece) and piece not in self._ids]
        return list(dict.fromkeys(strange))

    def fits(self, text: str) -> bool:
        """Return whether a text fits into the context."""
        return len(self.ids(text)) < self.context

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"words": list(self.words), "context": self.context}


def _pieces(text: str) -> list[str]:
    """Split a text into words in lower case and quoted strings; drop punctuation."""
    text = unicodedata.normalize("NFKC", text).translate(_STRAIGHT)
    pieces = [piece if piece[0] == '"' else piece.lower() for piece in _PIECE.findall(text)]
    return [piece for piece in pieces if piece not in _SILENT]


def _is_word(piece: str) -> bool:
    return piece[0].isalnum()


def _bytes(piece: str) -> bytes:
    return piece.encode("utf-8", errors="replace")
