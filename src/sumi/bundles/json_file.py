"""Reading the small JSON files of a bundle, which may come from anywhere, without trusting them.

Refused: files that are too large, that repeat a key, nest too deeply, or hold NaN, infinities or integers
past 2^53 (no reader agrees with another about those).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError

__all__ = ["parse_json", "read_json", "read_object", "write_json"]

LARGEST_BYTES = 32 * 2**20
LARGEST_INTEGER = 2**53


def read_json(path: Path, infinities: bool = False) -> Any:
    """Return what the file holds; SumiError names the file and the fault.

    infinities: also read Infinity and -Infinity, which diffusers writes into the configurations of its schedulers.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise SumiError(f"{path} is over {LARGEST_BYTES // 2**20} MB, too large for a bundle's JSON file")
        return parse_json(path.read_bytes(), str(path), infinities)
    except FileNotFoundError:
        raise SumiError(f"{path} is missing, and the model cannot be read without it") from None
    except OSError as error:
        raise SumiError(f"{path} cannot be read: {error.strerror or error}") from None


def read_object(path: Path, infinities: bool = False) -> dict[str, Any]:
    """Return the JSON object that the file holds."""
    value = read_json(path, infinities)
    if not isinstance(value, dict):
        raise SumiError(f"{path} should hold a JSON object, and holds {_kind(value)}")
    return value


def parse_json(data: bytes, where: str, infinities: bool = False) -> Any:
    """Parse strictly; `where` names the source in errors."""
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_infinity if infinities else _no_constant,
            parse_int=_small_integer,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise SumiError(f"{where} is not valid JSON: {reason}") from None


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON, readable or on one line; what is not finite or not JSON is a ValueError or a TypeError."""
    write_atomic(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} appears twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _infinity(name: str) -> float:
    if name == "NaN":
        raise ValueError("NaN is not a number to configure by")
    return float(name)


def _small_integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"the integer {digits[:17]}... is past 2^53")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:17]} is too large")
    return value


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null", bool: "a truth value"}.get(type(value), "a number")
