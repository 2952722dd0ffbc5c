"""Options: what one setting of a task may be, declared once, beside its default.

    n: int = integer(1, 1, 64, "How many pictures.")

The `Option` in a field's metadata checks the value. `Task.schema()` gives all options of a task, and its command-line
flags, its request schema and its documentation derive from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from sumi.errors import SumiError
from sumi.pipelines.checks import (
    LONGEST_PROMPT,
    check_choice,
    check_count,
    check_flag,
    check_integer,
    check_number,
    check_text,
)

__all__ = [
    "Option",
    "check_options",
    "choice",
    "flag",
    "integer",
    "margins",
    "number",
    "option_of",
    "required_text",
    "text",
]

METADATA = "option"


@dataclass(frozen=True)
class Option:
    """One setting of a task.

    Args:
        kind: str, int, float or bool; tuple for four whole numbers.
        help: one sentence for people.
        minimum, maximum: bounds of a number, both allowed; of a text, its least and largest number of characters.
        choices: the only values of a text.
        pattern: a regular expression that a text matches in full.
        metavar: the placeholder for the value, such as PX.
        label: the name in messages; by default that of the field.
        default: the value that is used when none is given.
        required: whether a value must be given; there is no default then.
    """

    kind: type
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    metavar: str | None = None
    label: str | None = None
    default: Any = None
    required: bool = False

    @property
    def nullable(self) -> bool:
        """Whether None leaves the setting to the model."""
        return self.default is None and not self.required

    def check(self, name: str, value: Any) -> Any:
        """Return the value as a plain Python value, numpy's numbers too; SumiError when it is none of these."""
        label = self.label or name
        if value is None and self.nullable:
            return None
        if self.choices:
            check_choice(label, value, self.choices)
        elif self.kind is str:
            check_text(label, value)
        elif self.kind is bool:
            return check_flag(label, value)
        elif self.kind is tuple:
            return check_margins(label, value, int(self.minimum or 0), int(self.maximum or 0))
        elif self.minimum is not None and self.maximum is not None:
            if self.kind is float:
                return check_number(label, value, self.minimum, self.maximum)
            check = check_integer if self.nullable else check_count
            return check(label, value, int(self.minimum), int(self.maximum))
        return value


def _field(option: Option) -> Any:
    return field(default=MISSING if option.required else option.default, metadata={METADATA: option})


def text(default: str | None, help: str, **more: Any) -> Any:
    """Return a field of text of up to 4,000 characters; `more` are further arguments of `Option`."""
    return _field(Option(str, help, maximum=LONGEST_PROMPT, default=default, **{"metavar": "TEXT", **more}))


def required_text(help: str, **more: Any) -> Any:
    """Return a field of text that must be given, of 1 to 4,000 characters."""
    return text(None, help, minimum=1, required=True, **more)


def choice(default: Any, choices: Sequence[str], help: str, metavar: str | None = None) -> Any:
    """Return a field that takes one of a few names."""
    return _field(Option(str, help, choices=tuple(choices), metavar=metavar, default=default))


def integer(
    default: int | None, minimum: int, maximum: int, help: str, metavar: str | None = None, label: str | None = None
) -> Any:
    """Return a field of a whole number."""
    return _field(Option(int, help, minimum, maximum, metavar=metavar, label=label, default=default))


def number(default: float | None, minimum: float, maximum: float, help: str) -> Any:
    """Return a field of a number."""
    return _field(Option(float, help, minimum, maximum, default=default))


def flag(help: str) -> Any:
    """Return a field that is False or True."""
    return _field(Option(bool, help, default=False))


def margins(maximum: int, help: str) -> Any:
    """Return a field of four whole numbers, left, top, right and bottom, each 0 by default."""
    return _field(Option(tuple, help, 0, maximum, metavar="L,T,R,B", default=(0, 0, 0, 0)))


def option_of(entry: Field[Any]) -> Option | None:
    """Return the option that a dataclass field declares; None for a field that is no setting."""
    option: Option | None = entry.metadata.get(METADATA)
    return option


def check_options(task: Any) -> None:
    """Check every option of a frozen dataclass and keep the checked values; SumiError for the first bad one."""
    for entry in fields(task):
        option = option_of(entry)
        if option is not None:
            object.__setattr__(task, entry.name, option.check(entry.name, getattr(task, entry.name)))


def check_margins(name: str, value: Any, minimum: int, maximum: int) -> tuple[int, ...]:
    """Return four whole numbers of a range as a tuple; SumiError for anything else."""
    given = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(given, tuple | list) or len(given) != 4:
        raise SumiError(f"{name} should be four numbers, left, top, right and bottom, not {value!r:.60}")
    return tuple(check_count(f"each number of {name}", one, minimum, maximum) for one in given)
