"""Prompts: normalised for the model, and made into file names."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["LONGEST_NAME_BYTES", "clean", "slug"]

JOINERS = {"\u200c", "\u200d"}
FLAG_TAGS = range(0xE0020, 0xE0080)
LONGEST_NAME_BYTES = 80


def clean(text: str) -> str:
    """Return the text as the model reads it: NFC, one line, no controls, no lone surrogates.

    Control characters and line breaks become spaces; invisible formatting goes, less what holds emoji
    together.
    """
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return " ".join("".join(map(_visible, unicodedata.normalize("NFC", paired))).split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cf" and character not in JOINERS and ord(character) not in FLAG_TAGS:
        return ""
    return character


def slug(prompt: str) -> str:
    """Return a short name for a file: the words of the prompt, and the names of its emoji, joined by hyphens."""
    named = "".join(f" {unicodedata.name(sign, '')} " if _is_pictograph(sign) else sign for sign in clean(prompt))
    words = re.findall(r"[\w]+", named.casefold().replace("_", " "))
    name = "-".join(words).encode("utf-8")[:LONGEST_NAME_BYTES].decode("utf-8", "ignore").strip("-")
    return name or "picture"


def _is_pictograph(sign: str) -> bool:
    return unicodedata.category(sign) == "So"
