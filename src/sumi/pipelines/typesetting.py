"""Typesetting: quoted words become layers that are set in type, since the decoder cannot spell.

    the word "HI" in red letters -> TypesetText("HI", "red") -> a layer of outlines, at any size

A prompt that asks for more of its letters than a colour, such as a style, is left to the decoder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from sumi.imaging.letters import INKS, can_set, set_text

__all__ = ["TypesetText", "find_lettering"]

_INK = "|".join(INKS)
_LETTERING = re.compile(
    rf'(?:(?:the|a) )?(?:(?:{_INK}) )?(?:word |words |text )?"(?P<text>[^"]+)"'
    rf"(?: (?:in|with)(?: (?:{_INK}))?(?: letters)?)?",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(r" on an? (?:[a-z]+ )?background$", re.IGNORECASE)


@dataclass(frozen=True)
class TypesetText:
    """A text to set, and the name of its ink, one of `sumi.imaging.letters.INKS`."""

    text: str
    ink: str = "black"

    def draw(self, size_px: int) -> Tensor:
        """Return the text on a clear square, premultiplied uint8 (4, S, S)."""
        return set_text(self.text, self.ink, size_px)


def find_lettering(prompt: str) -> TypesetText | None:
    """Return the lettering that a prompt, apart from its background, asks for and nothing else; None for any other."""
    found = _LETTERING.fullmatch(_BACKGROUND.sub("", prompt.strip()))
    if found is None or not can_set(found["text"]):
        return None
    inks = re.findall(rf"\b({_INK})\b", re.sub('"[^"]*"', "", _BACKGROUND.sub("", prompt)).casefold())
    return TypesetText(found["text"], inks[0] if inks else "black")
