"""The `config.json` of a published network, read strictly into a dataclass.

A wrong configuration gives noise without a word, so every key must be understood: it is a field of the dataclass, or
it switches on something that is not supported here and must stay at its neutral value, or it has no effect on what
the network computes. Names and defaults are those of diffusers and transformers.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """The base of every configuration.

    A field without a default is a key that every published folder has. A field with one came to the format later, and
    a folder without it means the default.
    """

    neutral: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Keys that would change the network, and the values with which they do not."""
    unused: ClassVar[frozenset[str]] = frozenset()
    """Keys that do not change what the network computes."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the configuration; keys that begin with an underscore are the writer's notes.

        Raises:
            ValueError: Names every unknown, missing, mistyped and unsupported key in one line.
        """
        hints = get_type_hints(cls)
        known = {field.name: hints[field.name] for field in fields(cls)}
        required = {field.name for field in fields(cls) if field.default is MISSING}
        given = {key: value for key, value in config.items() if not key.startswith("_") and key not in cls.unused}
        faults = [f"missing {key}" for key in sorted(required - given.keys())]
        for key, value in given.items():
            if key in known:
                if not _fits(value, known[key]):
                    faults.append(f"{key} is {value!r}, not {_name(known[key])}")
            elif key not in cls.neutral:
                faults.append(f"unknown {key}")
            elif value not in cls.neutral[key]:
                faults.append(f"{key} is {value!r}, and only {_either(cls.neutral[key])} is supported")
        if faults:
            raise ValueError(f"the configuration does not fit {cls.__name__}: {'; '.join(faults)}")
        return cls(**{key: _frozen(value) for key, value in given.items() if key in known})


def per_level(value: int | tuple[int, ...], levels: int, key: str) -> tuple[int, ...]:
    """Return one value for each level of a U-Net; ValueError when a list has another length."""
    values = (value,) * levels if isinstance(value, int) else value
    if len(values) != levels:
        raise ValueError(f"{key} has {len(values)} entries for {levels} levels")
    return values


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, list | tuple) and len(value) > 0 and all(_fits(x, get_args(hint)[0]) for x in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if hint is types.NoneType else isinstance(value, hint)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _name(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(_name, get_args(hint)))
    if get_origin(hint) is Literal:
        return _either(get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list (each entry {_name(get_args(hint)[0])})"
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false", types.NoneType: "null"}
    return names.get(hint, "an object")


def _either(values: tuple[object, ...]) -> str:
    return " or ".join(map(repr, values))
