"""Where a command writes: into a folder, under readable names that are free, or into the file that was named.

The command finds out whether it can write before it draws. It replaces only a file that was named.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sumi.atomic_file import write_atomic, write_exclusive
from sumi.errors import SumiError

OTHER_PICTURES = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".svg"}
LONGEST_ADDITION = "-9999999-frames-99.webp"


@dataclass(frozen=True)
class Destination:
    """A writable folder, and the file in it that was named, if any."""

    folder: Path
    file: Path | None = None

    @property
    def replaces(self) -> bool:
        """Whether the named file exists."""
        return self.file is not None and self.file.exists()

    def stem(self, usual: str) -> str:
        """Return the stem of file names: that of the named file, or the usual one."""
        return usual if self.file is None else self.file.stem

    def write(self, usual: str, data: bytes) -> Path:
        """Write a command's only PNG into the named file, or else under its usual name or the next free one."""
        return write_new(self.folder, usual, ".png", data) if self.file is None else write_atomic(self.file, data)


def find_destination(out: str | Path) -> Destination:
    """Return where `--out` leads: a name ending in .png is a file unless a folder has that name; others are folders.

    Raises:
        SumiError: it cannot be written to, or names a picture of another format.
    """
    path = Path(out)
    is_folder = str(out).endswith(("/", os.sep)) or path.is_dir()
    if not is_folder and path.suffix.lower() in OTHER_PICTURES:
        raise SumiError(f"pictures are written as PNG: use {path.stem}.png, not {path.name}")
    if is_folder or path.suffix.lower() != ".png":
        return Destination(require_writable_folder(out))
    try:
        os.lstat(path.with_name(path.stem + LONGEST_ADDITION))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot write {path.name}: {_reason(error)}") from None
    return Destination(require_writable_folder(path.parent), path)


def require_writable_folder(name: str | Path) -> Path:
    """Return a folder, made if it is missing; SumiError where files cannot be written there."""
    try:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot write into the folder {str(name)!r}: {_reason(error)}") from None
    return folder


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write a new file: stem.png, or where that exists stem-2.png, and so on."""
    for number in itertools.count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        with contextlib.suppress(FileExistsError):
            return write_exclusive(path, data)
    raise AssertionError("unreachable")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
