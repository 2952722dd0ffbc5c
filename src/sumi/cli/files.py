"""Where pictures are written: under readable names, never over another file, and sure before drawing."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path

from sumi.atomic_file import write_exclusive
from sumi.errors import SumiError


def writable_folder(name: str | Path) -> Path:
    """Return the folder, made if need be; SumiError unless files can be written there."""
    try:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SumiError(f"cannot write into the folder {str(name)!r}: {reason}") from None
    return folder


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write a file that was not there: stem.png, or stem-2.png if that was, and so on."""
    for number in itertools.count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        with contextlib.suppress(FileExistsError):
            return write_exclusive(path, data)
    raise AssertionError("unreachable")
