"""People: one role, drawn in five skin tones and a neutral one, as a woman, a man or a person.

Idea: icon names spell the variant: [woman-|man-]role[-tone]. Each hand has its own ending for a tone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["GENDERS", "TONES", "Person", "gender_icon", "strip_tone", "tone_icon"]

TONES = ("default", "light", "medium-light", "medium", "medium-dark", "dark")
GENDERS = ("person", "woman", "man")

_TONE = re.compile(r"-(light|medium-light|medium|medium-dark|dark)-skin-tone")


@dataclass(frozen=True)
class Person:
    """One variant of a role: `role` is the concept's name, `tone` of TONES, `gender` of GENDERS."""

    role: str
    gender: str = "person"
    tone: str = "default"


def tone_icon(icon: str, tone: str, hand: str = "") -> str:
    """The name that `hand` gives to `icon` in a skin tone; the standard name where no hand is given."""
    if tone == "default":
        return icon
    return f"{icon}-{tone}" if hand == "fluent" else f"{icon}-{tone}-skin-tone"


def gender_icon(role_icon: str, gender: str) -> str:
    """The icon name of a role by gender: 'cook' -> 'man-cook', 'person-running' -> 'woman-running'."""
    bare = role_icon.removeprefix("person-")
    return role_icon if gender == "person" else f"{gender}-{bare}"


def strip_tone(icon: str) -> str:
    """The icon name without its skin tones: 'cook-dark-skin-tone' -> 'cook'."""
    return _TONE.sub("", icon)
