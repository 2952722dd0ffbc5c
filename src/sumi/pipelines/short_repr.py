"""Short reprs: the class and the fields of an object, each value abbreviated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

__all__ = ["short_repr", "shortened"]

LONGEST_TEXT = 60
MOST_ITEMS = 6


def short_repr(thing: Any) -> str:
    """Return `Name(field=value, ...)` for a dataclass or a named tuple, without the fields that have their defaults.

    Arrays and tensors are shown by their shape, pictures by their size, long texts and collections cut.
    """
    if is_dataclass(thing):
        values = {field.name: getattr(thing, field.name) for field in fields(thing) if field.repr}
        usual: dict[str, Any] = {field.name: field.default for field in fields(thing) if field.default is not MISSING}
    else:
        values, usual = thing._asdict(), thing._field_defaults
    shown = [
        f"{name}={shortened(value)}" for name, value in values.items() if not _same(value, usual.get(name, MISSING))
    ]
    return f"{type(thing).__name__}({', '.join(shown)})"


def shortened(value: Any) -> str:
    """Return a value in at most some 80 characters."""
    if value is None or isinstance(value, bool | int):
        return repr(value)[:LONGEST_TEXT]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 3] + "...")
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{'x'.join(map(str, value.shape)) or 'scalar'} {str(value.dtype).removeprefix('torch.')}>"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"<{value.size[0]}x{value.size[1]} {value.mode}>"
    if isinstance(value, Mapping):
        names = ", ".join(str(name) for name in list(value)[:MOST_ITEMS])
        return "{" + names[:LONGEST_TEXT] + (", ..." if len(value) > MOST_ITEMS else "") + "}"
    if isinstance(value, Sequence) and not hasattr(value, "_fields"):
        if len(value) <= MOST_ITEMS and all(item is None or isinstance(item, bool | int | float) for item in value):
            return repr(value)
        return f"<{len(value)} {'item' if len(value) == 1 else 'items'}>"
    return f"<{getattr(value, '__name__', type(value).__name__)}>"


def _same(value: Any, usual: Any) -> bool:
    return value is usual or (type(value) is type(usual) and bool(value == usual))
