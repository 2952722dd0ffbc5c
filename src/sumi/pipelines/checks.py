"""Checks of what a person asks for: every fault is one line that says what was wrong and what would be right."""

from __future__ import annotations

import difflib
import numbers
import operator
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sumi.errors import SumiError
from sumi.pipelines.prompt import clean

__all__ = [
    "LONGEST_PROMPT",
    "check_choice",
    "check_count",
    "check_flag",
    "check_integer",
    "check_number",
    "check_prompt",
    "check_text",
    "parse_background",
]

LONGEST_PROMPT = 4000
"""Characters of a text; longer ones are refused."""


def check_prompt(prompt: Any) -> None:
    """Raise SumiError unless it says something."""
    check_text("prompt", prompt)
    if not clean(prompt):
        raise SumiError("the prompt is empty: say what to draw, such as 'a red fox'")


def check_text(name: str, text: Any) -> None:
    """Raise SumiError unless it is a string of an acceptable length."""
    if not isinstance(text, str):
        raise SumiError(f"the {name} should be text, not {type(text).__name__}")
    if len(text) > LONGEST_PROMPT:
        raise SumiError(f"the {name} has {len(text):,} characters, and at most {LONGEST_PROMPT:,} are read")


def check_count(name: str, value: Any, least: int, most: int) -> int:
    """Return the value as an int; SumiError unless it is an integer of the range; None is not."""
    number = check_integer(name, value, least, most)
    if number is None:
        raise SumiError(f"{name} should be a whole number from {least} to {most}, not None")
    return number


def check_integer(name: str, value: Any, least: int, most: int) -> int | None:
    """Return the value as an int, numpy's too, or None; SumiError unless it is None or an integer of the range."""
    if value is None:
        return None
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise SumiError(f"{name} should be a whole number from {least} to {most}, not {_shown(value)}")
    return number


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """Return the value as a float or an int, numpy's too; SumiError unless it is a finite number of the range."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            number: int | float = int(value) if isinstance(value, numbers.Integral) else float(value)
            if least <= number <= most:
                return number
    raise SumiError(f"{name} should be a number from {least:g} to {most:g}, not {_shown(value)}")


def check_flag(name: str, value: Any) -> bool:
    """Return the value as a bool, numpy's too; SumiError unless it is one."""
    if type(value) is bool or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise SumiError(f"{name} should be True or False, not {_shown(value)}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise SumiError, naming the choices and the nearest of them, unless the value is one."""
    if value not in choices:
        near = difflib.get_close_matches(str(value).casefold(), choices, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SumiError(f"unknown {name} {_shown(value)}: choose one of {', '.join(choices)}{hint}")


def parse_background(value: Any) -> tuple[int, int, int] | None:
    """Return the colour behind the picture, or None where what is transparent stays so."""
    if value in ("auto", "transparent"):
        return None
    if value == "opaque":
        return (255, 255, 255)
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value, re.ASCII):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    raise SumiError(f"unknown background {_shown(value)}: choose auto, transparent, opaque or a colour such as #ffd700")


def _shown(value: Any) -> str:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
