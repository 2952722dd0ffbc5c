"""Arrangements as tokens: which things a picture has, from back to front, and where each of them stands.

    arrangement = [GROUND r g b] (THING word ... (AT x y side) ...) ... END

Places are fractions of a square frame: the centre of a thing's tight box, x to the right, y downwards, and its longest
side; colours are fractions too. Each number is one of 64 symbols, in the middle of its bin. One thing may stand at
several places, which is how three apples are one drawing. What cannot come next is never drawn, so every text
written is an arrangement; one that breaks off ends with its last whole place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sumi.autoregressive.sampling import TokenSampling, stream_tokens
from sumi.nn.layout_planner import CaptionFeatures, LayoutPlannerNetwork

END, THING, GROUND, AT, FIRST_NUMBER = range(5)
BINS = 64
SYMBOLS = FIRST_NUMBER + BINS
NUMBERS = 3
"""How many follow AT, and GROUND."""

LIKELY = TokenSampling(top_p=0.9)


class LayoutBox(NamedTuple):
    """Where something stands: its centre and its longest side, fractions of the frame."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class LayoutItem:
    """A thing in ids of words, drawn once and shown at each of its spots."""

    words: tuple[int, ...]
    spots: tuple[LayoutBox, ...]


@dataclass(frozen=True)
class SceneLayout:
    """What a picture has, from back to front; ground: the colour behind all, red, green and blue in [0, 1]."""

    items: tuple[LayoutItem, ...]
    ground: tuple[float, float, float] | None = None

    def encode(self) -> list[int]:
        """The arrangement as tokens, END the last."""
        tokens = [] if self.ground is None else [GROUND, *map(_bin, self.ground)]
        for item in self.items:
            tokens += [THING, *(SYMBOLS + word for word in item.words)]
            for spot in item.spots:
                tokens += [AT, *map(_bin, spot)]
        return [*tokens, END]

    @classmethod
    def decode(cls, tokens: Sequence[int]) -> SceneLayout:
        """The arrangement that tokens say, as far as they say it whole."""
        things: list[tuple[list[int], list[LayoutBox]]] = []
        ground: tuple[float, float, float] | None = None
        rest = list(tokens[: tokens.index(END)] if END in tokens else tokens)
        while rest:
            sign = rest.pop(0)
            if sign == THING:
                things.append(([], []))
            elif sign >= SYMBOLS:
                things[-1][0].append(sign - SYMBOLS)
            elif len(rest) >= NUMBERS:
                numbers = tuple((rest.pop(0) - FIRST_NUMBER + 0.5) / BINS for _ in range(NUMBERS))
                if sign == AT:
                    things[-1][1].append(LayoutBox(*numbers))
                else:
                    ground = (numbers[0], numbers[1], numbers[2])
            else:
                break
        return cls(tuple(LayoutItem(tuple(words), tuple(spots)) for words, spots in things if spots), ground)


def _bin(value: float) -> int:
    return FIRST_NUMBER + min(BINS - 1, max(0, int(value * BINS)))


def mask_logits(tokens: Tensor, logits: Tensor, sayable: Tensor) -> Tensor:
    """Leave of logits (B, K) what may come after tokens (B, n): every number where one belongs, else the likeliest.

    sayable (B, vocabulary_size): which words may be used.
    """
    kept = torch.full_like(logits, float("-inf"))
    for row, known in enumerate(tokens.tolist()):
        signs, words, numbers = allowed_next(known)
        if numbers:
            kept[row, FIRST_NUMBER:SYMBOLS] = logits[row, FIRST_NUMBER:SYMBOLS]
            continue
        allowed = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        allowed[list(signs)] = True
        allowed[SYMBOLS:] = sayable[row] & words
        kept[row, logits[row].masked_fill(~allowed, float("-inf")).argmax()] = 0
    return kept


def allowed_next(known: Sequence[int]) -> tuple[tuple[int, ...], bool, bool]:
    """What may come next: which of the signs, whether a word, whether a number."""
    if not known:
        return (GROUND, THING), False, False
    if END in known:
        return (END,), False, False
    if known[-1] == THING:
        return (), True, False
    if known[-1] >= SYMBOLS:
        return (AT,), True, False
    sign = max(place for place, token in enumerate(known) if token in (AT, GROUND))
    if len(known) - sign <= NUMBERS:
        return (), False, True
    return ((THING,) if known[sign] == GROUND else (END, THING, AT)), False, False


@torch.no_grad()
def sample_layouts(
    model: LayoutPlannerNetwork,
    caption: CaptionFeatures,
    sayable: Tensor,
    rngs: Sequence[Generator],
    dice: TokenSampling = LIKELY,
) -> list[SceneLayout]:
    """Write an arrangement for each caption, a generator each: in the likeliest words, at places drawn by the dice.

    sayable: as in `steer`, so that nothing is made up that nobody asked for.
    """
    tokens = torch.zeros(len(rngs), 0, dtype=torch.int64)
    for known in stream_tokens(model, caption, tokens, rngs, dice, steer=partial(mask_logits, sayable=sayable)):
        tokens = known
        if bool((tokens == END).any(dim=1).all()):
            break
    return [SceneLayout.decode(row) for row in tokens.tolist()]
