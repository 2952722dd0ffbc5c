"""Scene layouts as tokens: which objects a scene has, from back to front, and where each of them stands.

    layout = [GROUND r g b] (THING word ... (AT x y side) ...) ... END

Boxes are fractions of a square frame: the centre of an object's tight box, x to the right, y downwards, and its longest
side. Colours are fractions too. Each number is one of 64 symbols and stands for the middle of its bin. One object may
have several boxes: three apples are one drawing shown three times. Tokens that the grammar forbids are never drawn, so
every sequence is a layout; one that is cut off ends with its last whole box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sumi.autoregressive.sampling import TokenSampling, stream_tokens
from sumi.nn.layout_planner import EncodedCaption, LayoutPlannerNetwork

END, THING, GROUND, AT, FIRST_NUMBER = range(5)
BINS = 64
SYMBOLS = FIRST_NUMBER + BINS
NUMBERS = 3
"""How many numbers follow AT and GROUND."""

LIKELY = TokenSampling(top_p=0.9)


class LayoutBox(NamedTuple):
    """The box of an object: its centre and its longest side, as fractions of the frame."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class LayoutItem:
    """An object: the ids of its words, and the boxes at which its drawing is shown."""

    words: tuple[int, ...]
    spots: tuple[LayoutBox, ...]


@dataclass(frozen=True)
class SceneLayout:
    """The objects of a scene, from back to front; ground: the background colour, RGB in [0, 1], or None."""

    items: tuple[LayoutItem, ...]
    ground: tuple[float, float, float] | None = None

    def encode(self) -> list[int]:
        """Encode the layout as tokens that end with END."""
        tokens = [] if self.ground is None else [GROUND, *map(_bin, self.ground)]
        for item in self.items:
            tokens += [THING, *(SYMBOLS + word for word in item.words)]
            for spot in item.spots:
                tokens += [AT, *map(_bin, spot)]
        return [*tokens, END]

    @classmethod
    def decode(cls, tokens: Sequence[int]) -> SceneLayout:
        """Decode tokens to a layout, up to the last whole box."""
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


def mask_logits(tokens: Tensor, logits: Tensor, allowed_words: Tensor) -> Tensor:
    """Mask logits to the tokens that the grammar allows next.

    Where a number comes next, all numbers keep their logits; elsewhere only the most probable allowed token remains.

    Args:
        tokens: the tokens so far, (B, n).
        logits: of the next token, (B, K).
        allowed_words: bool (B, vocabulary_size), the words that may be used.

    Returns:
        (B, K), with -inf for what may not come next.
    """
    kept = torch.full_like(logits, float("-inf"))
    for row, known in enumerate(tokens.tolist()):
        signs, words, numbers = allowed_next(known)
        if numbers:
            kept[row, FIRST_NUMBER:SYMBOLS] = logits[row, FIRST_NUMBER:SYMBOLS]
            continue
        allowed = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        allowed[list(signs)] = True
        allowed[SYMBOLS:] = allowed_words[row] & words
        kept[row, logits[row].masked_fill(~allowed, float("-inf")).argmax()] = 0
    return kept


def allowed_next(known: Sequence[int]) -> tuple[tuple[int, ...], bool, bool]:
    """Return what may follow the tokens `known`: which signs, whether a word, and whether a number."""
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
    caption: EncodedCaption,
    allowed_words: Tensor,
    rngs: Sequence[Generator],
    sampling: TokenSampling = LIKELY,
) -> list[SceneLayout]:
    """Sample a layout for each caption, with the most probable words and sampled boxes.

    Args:
        model: the planner.
        caption: B captions.
        allowed_words: bool (B, vocabulary_size), the words that a layout may use.
        rngs: one generator per caption.
        sampling: how the numbers of a box are drawn.
    """
    tokens = torch.zeros(len(rngs), 0, dtype=torch.int64)
    for known in stream_tokens(
        model, caption, tokens, rngs, sampling, steer=partial(mask_logits, allowed_words=allowed_words)
    ):
        tokens = known
        if bool((tokens == END).any(dim=1).all()):
            break
    return [SceneLayout.decode(row) for row in tokens.tolist()]
