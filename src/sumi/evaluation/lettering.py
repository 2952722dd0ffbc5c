"""Reading a word in a picture: which of a fixed list of words fits best, anywhere and at any size.

    score(word) = max over places and heights of the correlation of the word's shape with the ink in the picture

The ink is how near each pixel is to the colour asked for. It reads nothing but this list, which is all that an exam
asks for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.imaging.letters import INKS, set_text
from sumi.judge.network import SIZE_PX

__all__ = ["WORDS", "read_word"]

#: The words that exams ask for; all are set in one line.
WORDS = (
    "HELLO", "LOVE", "OPEN", "SALE", "YES", "NO", "STOP", "GO", "HAPPY", "COOL", "WOW", "HOME", "GOOD", "TEAM", "PLAY",
    "MAGIC", "SUN", "TOP", "BEST", "FUN", "SMILE", "NEW", "HI", "OK",
)  # fmt: skip
HEIGHTS_PX = (*range(5, 17), 18, 20, 22, 24, 28, 32)
REACH, LEAST = 0.5, 0.35
"""How far from an ink, in RGB of [0, 1], a pixel is none; the least correlation at which anything is read."""
FINE_PX, MARGIN_PX = 128, 8


def read_word(picture: Tensor, ink: str, words: tuple[str, ...] = WORDS) -> str | None:
    """Return the word that is written in a picture in an ink, or None where none can be read.

    Args:
        picture: premultiplied uint8 (4, 64, 64).
        ink: a name of `sumi.imaging.letters.INKS`.
        words: those to choose from.
    """
    scores = fits(ink_map(picture, ink), words)
    best = int(scores.argmax())
    return words[best] if float(scores[best]) >= LEAST else None


def ink_map(picture: Tensor, ink: str) -> Tensor:
    """Return how near each pixel of a picture (4, S, S) is to an ink, (S, S) in [0, 1]; 0 where it is clear."""
    levels = picture.float() / 255
    straight = levels[:3] / levels[3].clamp_min(1e-3)
    away = (straight - torch.tensor(INKS[ink])[:, None, None] / 255).square().sum(dim=0).sqrt()
    return (1 - away / REACH).clamp(0, 1) * levels[3]


def fits(found: Tensor, words: tuple[str, ...]) -> Tensor:
    """Return the best correlation of each word's shape with an ink map (64, 64), over places and heights: (words,).

    With sums over the window of a shape t, by Fourier transforms: sum(x t) / sqrt(sum(x^2) - sum(x)^2 / area), where t
    has the mean 0 and the norm 1.
    """
    known = _templates(words)
    padded = F.pad(found, (MARGIN_PX,) * 4)

    def windowed(values: Tensor, kernels: Tensor) -> Tensor:
        found_there: Tensor = torch.fft.irfft2(torch.fft.rfft2(values) * kernels.conj(), s=padded.shape)
        return found_there

    total = windowed(padded, known.windows)
    spread = (windowed(padded.square(), known.windows) - total.square() / known.area[:, None, None]).clamp_min(0).sqrt()
    fit = windowed(padded, known.shapes) / (spread + 1e-2)
    return fit.masked_fill(~known.valid, -1.0).amax(dim=(1, 2)).view(len(words), -1).amax(dim=1)


class _Templates(NamedTuple):
    """Transforms (T, S, S // 2 + 1) of the shapes and of their windows, the areas (T,) and the places (T, S, S)."""

    shapes: Tensor
    windows: Tensor
    area: Tensor
    valid: Tensor


@lru_cache(maxsize=4)
def _templates(words: tuple[str, ...]) -> _Templates:
    """Return the templates of words, all heights of the first, then of the next."""
    side = SIZE_PX + 2 * MARGIN_PX
    drawn = [word_shape(word, height) for word in words for height in HEIGHTS_PX]
    count = len(drawn)
    shapes, windows, valid = (
        torch.zeros(count, side, side),
        torch.zeros(count, side, side),
        torch.zeros(count, side, side),
    )
    for number, shape in enumerate(drawn):
        high, wide = shape.shape
        if wide <= side:  # what is wider fits nowhere
            centred = shape - shape.mean()
            shapes[number, :high, :wide], windows[number, :high, :wide] = centred / centred.norm(), 1
            valid[number, : side - high + 1, : side - wide + 1] = 1
    area = torch.tensor([float(shape.numel()) for shape in drawn])
    return _Templates(torch.fft.rfft2(shapes), torch.fft.rfft2(windows), area, valid > 0)


def word_shape(word: str, height: int) -> Tensor:
    """Return the coverage of a word whose capitals are `height` px high, (h, w), with clear space around it.

    The space is a third of the height at the sides, or GO would be read in GOOD.
    """
    fine = set_text(word, "black", FINE_PX)[3].float() / 255
    rows, columns = fine.amax(dim=1).nonzero()[:, 0], fine.amax(dim=0).nonzero()[:, 0]
    cut = fine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, round(height * cut.shape[1] / cut.shape[0]))
    small = F.interpolate(cut[None, None], size=(height, width), mode="area")[0, 0]
    return F.pad(small, (height // 3, height // 3, 1, 1))
