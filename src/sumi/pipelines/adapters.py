"""Adapters of a task: which learned changes a model draws with, and how much of each.

"mochi:0.8,inky" -> AdapterChoice("mochi", 0.8), AdapterChoice("inky", 1.0)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sumi.errors import SumiError

__all__ = ["AdapterChoice", "join_adapters", "parse_adapters"]

MOST_ADAPTERS = 8
LARGEST_WEIGHT = 2.0
_CHOICE = re.compile(r"([^\s:,]+)(?::([0-9]*\.?[0-9]+))?")


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter by its name, and its weight: 1 is as it was taught, 0 is without."""

    name: str
    weight: float = 1.0

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.name}:{self.weight:g}"


def parse_adapters(text: str) -> tuple[AdapterChoice, ...]:
    """Return the adapters that a text names; SumiError for one that cannot be read."""
    choices = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _CHOICE.fullmatch(part)
        weight = 1.0 if found is None or found[2] is None else float(found[2])
        if found is None or weight > LARGEST_WEIGHT:
            raise SumiError(
                f"an adapter is given as NAME or NAME:WEIGHT with a weight from 0 to {LARGEST_WEIGHT:g}, such as "
                f"mochi:0.8, not {part!r:.60}"
            )
        choices.append(AdapterChoice(found[1], weight))
    if len(choices) > MOST_ADAPTERS or len({choice.name for choice in choices}) < len(choices):
        raise SumiError(f"up to {MOST_ADAPTERS} different adapters can be combined, not {text!r:.80}")
    return tuple(choices)


def join_adapters(choices: tuple[AdapterChoice, ...]) -> str:
    """Return the text that names these adapters."""
    return ",".join(map(str, choices))
