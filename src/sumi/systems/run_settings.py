"""How a training run was started, and on which machine, so that a report can say it and a doctor can open it again.

<run>/settings.json    {"command": "unclip", "pictures": ..., "preset": ..., "machine": {...}, ...}

It holds what the command was given, and belongs to the newest session. Nothing that is computed depends on it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sumi import __version__
from sumi.atomic_file import write_atomic
from sumi.bundles.json_file import read_object
from sumi.errors import SumiError
from sumi.hardware import describe_machine

__all__ = ["SETTINGS_FILE", "Command", "absolute_place", "read_settings", "write_settings"]

SETTINGS_FILE = "settings.json"
FORMAT = 1

Command = Literal["sticker", "system", "unclip", "teach"]
"""Which command trains: `sumi train sticker`, a system of the lineage, `sumi train unclip --data`, `sumi teach`."""


def write_settings(folder: Path, command: Command, device: str = "cpu", **values: Any) -> None:
    """Write how a run was started into its folder.

    Args:
        folder: of the run, made if it is missing.
        command: what trains.
        device: where it computes.
        values: JSON values and paths, which are kept whole; None is left out.

    Raises:
        SumiError: when the folder cannot be written.
    """
    kept = {name: os.path.abspath(value) if isinstance(value, Path) else value for name, value in values.items()}
    record = {
        "format": FORMAT,
        "command": command,
        "device": device,
        "version": __version__,
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": describe_machine(device),
        **{name: value for name, value in kept.items() if value is not None},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SumiError(f"{folder}: cannot be written ({error.strerror or error})") from None
    write_atomic(folder / SETTINGS_FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def absolute_place(place: str) -> str:
    """Return a place of pictures as it can be opened from any folder; an address stays as it is."""
    return place if "://" in place else os.path.abspath(place)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return how a run was started; empty for a run of an earlier version, which does not say it (SumiError)."""
    path = folder / SETTINGS_FILE
    return read_object(path) if path.is_file() else {}
