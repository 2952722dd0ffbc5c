"""Captions that CLIP proposes for pictures without one, from a list of words.

    score(word) = z_i . z_t("a WORD")        the best words are the caption

Such a caption says what CLIP sees and not what a person meant. So each is marked as machine-made, with the model that
wrote it, in the field `caption_by`; `sumi data filter` finds it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.conditioning import CLIP
from sumi.conditioning.lexicon import Lexicon
from sumi.data.picture_dataset import PictureRecord
from sumi.errors import SumiError
from sumi.imaging.pixels import from_image, from_levels

__all__ = ["Proposal", "propose_captions", "vocabulary_words"]

BATCH = 64
MOST_WORDS = 20_000


@dataclass(frozen=True)
class Proposal:
    """The words that fit a picture best, with their cosines, best first. caption: of the best of them."""

    name: str
    words: tuple[tuple[str, float], ...]

    @property
    def caption(self) -> str:
        """The caption: "a fox", or "a fox and a hat"."""
        return " and ".join(with_article(word) for word, _ in self.words)


def with_article(word: str) -> str:
    """Return a word with its article."""
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"


def vocabulary_words(lexicon: Lexicon) -> list[str]:
    """Return the things that a model knows, or all of its words where it does not tell things apart."""
    return sorted(lexicon.things) if lexicon.structured else sorted(lexicon.words)


@torch.no_grad()
def propose_captions(
    records: Sequence[PictureRecord],
    words: Sequence[str],
    clip: CLIP,
    encode: Callable[[Sequence[str]], Tensor],
    most: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[Proposal], list[str]]:
    """Return a caption for each picture that can be read, and a line for each that cannot.

    Args:
        records: the pictures.
        words: to choose from.
        clip: the model that compares.
        encode: its tokenizer, texts to ids (N, L).
        most: words in a caption.
        progress: called after each picture.

    Raises:
        SumiError: when there are no words, or too many.
    """
    if not 1 <= len(words) <= MOST_WORDS:
        raise SumiError(f"captions are chosen from 1 to {MOST_WORDS:,} words, not {len(words):,}")
    texts = [with_article(word) for word in words]
    parts = [clip.encode_text(encode(texts[at : at + BATCH]))[0] for at in range(0, len(texts), BATCH)]
    z_t = torch.cat(parts)
    found, faults = [], []
    for done, record in enumerate(records, 1):
        try:
            levels = from_image(record.open(), clip.size_px)[None]
        except SumiError as error:
            faults.append(str(error))
        else:
            cosines = (clip.encode_image(from_levels(levels)) @ z_t.T)[0]
            best = cosines.topk(min(most, len(words)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            found.append(Proposal(record.name, tuple((words[n], round(value, 4)) for n, value in pairs)))
        progress(done, len(records))
    return found, faults
