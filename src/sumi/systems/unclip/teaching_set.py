"""What a model learns a new thing from: a person's few pictures, varied, and the model's own pictures of other things.

    own colour:     "a wug", "wug emoji", ...                       mirrored, moved, turned a little
    recoloured:     "a red wug"            the picture is painted in the colour that its caption names
    in company:     "a wug and a fox"      beside a picture that the model drew itself
    preservation:   "a fox", "two red cars", ...                    the model's own pictures, and their captions

Only pictures with a transparent background are recoloured or given company; a photograph painted red would not show a
red thing. The model's own pictures hold it to what it knows (DreamBooth: Ruiz et al. 2022, arXiv 2208.12242, eq. 2).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.conditioning import Lexicon, interpret
from sumi.data.render import recolour, tones
from sumi.data.scene import COLOURS
from sumi.data.words import article
from sumi.imaging.pixels import over, resize, to_uint8
from sumi.systems.unclip.new_word import NewWord

__all__ = ["TaughtPictures", "own_prompts", "vary_pictures"]

FRAMES = (
    "{}",
    "{}",
    "{}",
    "{}",
    "a sticker of {}",
    "a picture of {}",
    "{} on a transparent background",
    "{bare} emoji",
)
RECOLOURED, MIRRORED, COMPANY, TURNED = 0.5, 0.5, 0.15, 8.0
SIDES = (0.6, 0.93)
"""The longest side of the thing, as a fraction of the frame."""
OPAQUE = 0.98
"""A photograph reaches two opposite sides of the frame and is this opaque within its box."""


@dataclass(frozen=True)
class TaughtPictures:
    """Pictures, premultiplied uint8 (N, 4, S, S), each with a caption."""

    pictures: Any
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)


def own_prompts(lexicon: Lexicon, count: int, seed: int) -> list[str]:
    """Return prompts of what a model knows: each a thing, half of them in a colour."""
    rng = random.Random(seed)
    if not lexicon.structured:
        words = sorted(lexicon.words)
        return [rng.choice(words) for _ in range(count)]
    nouns = [lexicon.record["nouns"][thing][0] for thing in lexicon.things if thing in lexicon.record["nouns"]]
    rng.shuffle(nouns)
    prompts = []
    for number in range(count):
        noun = nouns[number % len(nouns)]
        bare = noun.partition(" ")[2]
        colour = rng.choice(lexicon.record["colours"])
        coloured = rng.random() < 0.5 and noun.startswith(("a ", "an "))
        prompts.append(article(f"{colour} {bare}") if coloured else noun)
    return prompts


def vary_pictures(
    pictures: Any, captions: Sequence[str], word: NewWord, lexicon: Lexicon, count: int, size_px: int, seed: int,
    company: Sequence[tuple[str, Tensor]] = (),
) -> TaughtPictures:  # fmt: skip
    """Return `count` captioned variations of a person's pictures.

    Args:
        pictures: premultiplied uint8 (N, 4, R, R), larger than they will be.
        captions: what the person wrote of each, or "".
        word: what the thing is called.
        lexicon: of the model with the new word; captions are told in its words, as prompts will be.
        count: variations.
        size_px: S of the result.
        seed: of every choice.
        company: the model's own pictures, uint8 (4, S, S), each with its prompt.
    """
    stickers = [_Sticker.of(torch.from_numpy(np.asarray(picture))) for picture in pictures]
    colours = [name for name in COLOURS if name in lexicon.record.get("colours", ())]
    made, told = [], []
    for number in range(count):
        rng = random.Random(seed * 1_000_003 + number)
        index = number % len(stickers)
        sticker, caption = stickers[index], captions[index]
        colour = rng.choice(colours) if colours and sticker.clear and rng.random() < RECOLOURED else ""
        if caption and colour and names_colour(caption, lexicon):
            colour = ""
        friend = rng.choice(company) if company and sticker.clear and rng.random() < COMPANY and not caption else None
        picture = sticker.draw(rng, size_px, colour, 0.5 if friend else 1.0)
        text = _caption(word, colour, caption, rng)
        if friend is not None:
            picture, text = _beside(picture, friend, text, rng)
        else:
            text = _framed(text, sticker.clear and not caption, rng)
        made.append(to_uint8(picture))
        told.append(interpret(text, lexicon).drawn_as)
    return TaughtPictures(torch.stack(made).numpy(), tuple(told))


@dataclass(frozen=True)
class _Sticker:
    """One picture: premultiplied floats (4, R, R) in [0, 1], its tight box and whether its background is clear."""

    picture: Tensor
    box: tuple[int, int, int, int]
    clear: bool

    @classmethod
    def of(cls, levels: Tensor) -> _Sticker:
        picture = levels.float() / 255
        shown = picture[3] > 0.06
        rows, columns = (torch.nonzero(shown.any(dim=axis)).flatten() for axis in (1, 0))
        if not len(rows):
            return cls(picture, (0, 0, picture.shape[1], picture.shape[2]), False)
        box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
        inside = picture[3, box[0] : box[2], box[1] : box[3]]
        fills = max(inside.shape[0] / picture.shape[1], inside.shape[1] / picture.shape[2]) > OPAQUE
        return cls(picture, box, not (fills and bool(inside.mean() > OPAQUE)))

    def draw(self, rng: random.Random, size_px: int, colour: str, share: float) -> Tensor:
        """Return a variation, (4, size_px, size_px): an opaque picture is only mirrored and cropped a little."""
        mirror = rng.random() < MIRRORED
        turn = math.radians(rng.uniform(-TURNED, TURNED)) if self.clear else 0.0
        top, left, bottom, right = self.box
        long = max(bottom - top, right - left) / self.picture.shape[1]
        side = rng.uniform(*SIDES) * share if self.clear else rng.uniform(1.0, 1.15)
        zoom = long / side
        centre = (left + right) / self.picture.shape[2] - 1, (top + bottom) / self.picture.shape[1] - 1
        slack = max(0.0, 1 - side) if self.clear and share == 1 else 0.0
        shift = rng.uniform(-slack, slack), rng.uniform(-slack, slack)
        cos, sin, flip = math.cos(turn) * zoom, math.sin(turn) * zoom, -1.0 if mirror else 1.0
        theta = torch.tensor(
            [
                [flip * cos, -flip * sin, centre[0] - flip * cos * shift[0] + flip * sin * shift[1]],
                [sin, cos, centre[1] - sin * shift[0] - cos * shift[1]],
            ]
        )
        source = self.picture[None]
        if colour:
            source = recolour(source, [colour], tones((source * 255).to(torch.uint8)))
        large = F.affine_grid(theta[None], [1, 4, 2 * size_px, 2 * size_px], align_corners=False)
        drawn = F.grid_sample(source, large, mode="bilinear", padding_mode="zeros", align_corners=False)
        small = resize(drawn, (size_px, size_px))[0].clamp(0, 1)
        return torch.cat([torch.minimum(small[:3], small[3:]), small[3:]])


def names_colour(caption: str, lexicon: Lexicon) -> bool:
    """Return whether a caption names a colour that the model knows."""
    return any(f" {colour} " in f" {caption.casefold()} " for colour in lexicon.record.get("colours", ()))


def _caption(word: NewWord, colour: str, caption: str, rng: random.Random) -> str:
    """The thing and its colour, or the person's own caption with the word in it."""
    lead = f"{colour} " if colour else ""
    named = article(f"{lead}{word.word}") if rng.random() < 0.8 else f"{lead}{word.word}"
    if not caption:
        return named
    if word.word in caption.casefold().split():
        return caption
    return f"{named}, {caption}"


def _framed(text: str, clear: bool, rng: random.Random) -> str:
    frame = rng.choice(FRAMES if clear else FRAMES[:4])
    bare = text.removeprefix("an ").removeprefix("a ")
    return frame.format(text, bare=bare)


def _beside(picture: Tensor, friend: tuple[str, Tensor], text: str, rng: random.Random) -> tuple[Tensor, str]:
    """The picture beside another of the model's own, and what that is called."""
    prompt, other = friend
    small = resize(other[None].float() / 255, [picture.shape[1] // 2] * 2)[0].clamp(0, 1)
    left = rng.random() < 0.5
    canvas, size_px = torch.zeros_like(picture), picture.shape[1]
    top, start = size_px // 4, size_px // 2 if left else 0
    canvas[:, top : top + small.shape[1], start : start + small.shape[2]] = small
    moved = torch.roll(picture, (-1 if left else 1) * (size_px // 4), dims=2)
    both = over(moved, canvas)
    return both, f"{text} and {prompt}" if left else f"{prompt} and {text}"
