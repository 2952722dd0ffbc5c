"""Words as numbers: whole words that were taught, and bytes for everything else.

A prompt is split into words, numbers and quoted strings. A taught word is one token, any other word its UTF-8
bytes; what stands in double quotes is always bytes, letter by letter, since those are the letters to draw
(character-aware text encoders spell far better: Liu et al. 2023, arXiv 2212.10562). Ids: 0 padding, 1 end of
text, 2 to 257 bytes, from 258 words.
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
    """Maps prompts to ids of fixed length `context`, and knows which words it was taught."""

    def __init__(self, words: Sequence[str], context: int) -> None:
        self.words, self.context = tuple(words), context
        self._ids = {word: FIRST_WORD + number for number, word in enumerate(self.words)}

    @classmethod
    def learn(cls, captions: Iterable[str], context: int, minimum: int = 3) -> WordTokenizer:
        """Take every word outside quotes that stands at least `minimum` times in the captions."""
        counts = Counter(piece for caption in captions for piece in _pieces(caption) if _is_word(piece))
        return cls(sorted(word for word, count in counts.items() if count >= minimum), context)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return FIRST_WORD + len(self.words)

    def ids(self, text: str) -> list[int]:
        """The ids of a text without its end and padding; not cut to the context."""
        ids: list[int] = []
        for piece in _pieces(text):
            known = self._ids.get(piece)
            ids += [known] if known is not None else [FIRST_BYTE + byte for byte in _bytes(piece)]
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """A text that has these ids, as far as there is one: words apart, the bytes between them as they are."""
        pieces: list[str] = []
        for is_word, run in groupby(ids, lambda token: token >= FIRST_WORD):
            if is_word:
                pieces += [self.words[token - FIRST_WORD] for token in run]
            else:
                written = bytes(token - FIRST_BYTE for token in run if token >= FIRST_BYTE)
                pieces.append(written.decode("utf-8", errors="ignore"))
        return " ".join(filter(None, pieces))

    def alike(self, token: int) -> list[int]:
        """The ids of shorter words that a word may be the plural of, by their beginnings: wolves -> wolf."""
        if token < FIRST_WORD:
            return []
        word = self.words[token - FIRST_WORD]
        return [
            own
            for short, own in self._ids.items()
            if len(short) < len(word) <= len(short) + 3 and word.startswith(short[: max(3, len(short) - 1)])
        ]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts as int64 (B, context): ids, one END, then PAD; a text too long is cut. The empty text is all PAD."""
        rows = torch.zeros(len(texts), self.context, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.ids(text)[: self.context - 1]
            if ids:
                row[: len(ids) + 1] = torch.tensor([*ids, END])
        return rows

    def unknown(self, text: str) -> list[str]:
        """The words of a text, outside quotes, that were never taught, in order and once each."""
        strange = [piece for piece in _pieces(text) if _is_word(piece) and piece not in self._ids]
        return list(dict.fromkeys(strange))

    def fits(self, text: str) -> bool:
        """Whether the whole text is read, or its end is cut off."""
        return len(self.ids(text)) < self.context

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"words": list(self.words), "context": self.context}


def _pieces(text: str) -> list[str]:
    """Words and signs in lower case, quoted strings as they are; commas and the like say nothing."""
    text = unicodedata.normalize("NFKC", text).translate(_STRAIGHT)
    pieces = [piece if piece[0] == '"' else piece.lower() for piece in _PIECE.findall(text)]
    return [piece for piece in pieces if piece not in _SILENT]


def _is_word(piece: str) -> bool:
    return piece[0].isalnum()


def _bytes(piece: str) -> bytes:
    return piece.encode("utf-8", errors="replace")
