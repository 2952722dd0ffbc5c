"""What a person wrote, made safe to read, to name a file after, and to hold against what was taught."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

JOINERS = {"\u200c", "\u200d"}
FLAG_TAGS = range(0xE0020, 0xE0080)
LONGEST_NAME_BYTES = 80
CLOSE_ENOUGH = 0.72


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


def nearest_words(strange: Iterable[str], taught: Sequence[str]) -> dict[str, str | None]:
    """Return for each word that was never taught the most similar one that was, if any is similar."""
    near = {word: difflib.get_close_matches(word, taught, 1, CLOSE_ENOUGH) for word in strange}
    return {word: matches[0] if matches else None for word, matches in near.items()}


def emoji_of(text: str) -> list[str]:
    """Return the pictographs of a text, in order and once each."""
    return list(dict.fromkeys(sign for sign in clean(text) if _is_pictograph(sign)))


def _is_pictograph(sign: str) -> bool:
    return unicodedata.category(sign) == "So"


def kind_note(unknown: dict[str, str | None]) -> str | None:
    """Say gently, in one line, what the model was never taught; None when it knows every word."""
    if not unknown:
        return None
    told = [f"'{word}'" + (f" (did you mean '{near}'?)" if near else "") for word, near in unknown.items()]
    listed = told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]
    return f"this model was never taught {listed}, so the picture may leave that out"
