"""Atomic files: the data is written to a temporary file beside the target, which is then renamed.

A full disk or a killed process leaves no partial file, and an older file stays until the new one is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from sumi.errors import SumiError


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write a file, and replace any file of that name.

    Args:
        path: of the file; a symbolic link is followed.
        data: bytes, or text to write as UTF-8.

    Raises:
        SumiError: when the file cannot be written; an older file is then unchanged.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))  # a symbolic link keeps pointing where it points
        temporary = _write_temporary(target.parent, data)
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(target.stat().st_mode & 0o7777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from None
    return path


def write_exclusive(path: Path, data: bytes) -> Path:
    """Write a file, and never replace one.

    A hard link gives the file its name. It never replaces a file, even when file names ignore case or two processes
    write at the same time. On a file system without hard links an empty file reserves the name first.

    Raises:
        FileExistsError: when the name is taken.
        SumiError: when the file cannot be written.
    """
    try:
        temporary = _write_temporary(path.parent, data)
        try:
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:
                path.open("xb").close()
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from None
    return path


def _write_temporary(folder: Path, data: bytes | str) -> Path:
    """Write the data to a hidden file of a random name in the folder, and flush it to the disk."""
    temporary = folder / f".sumi-{secrets.token_hex(8)}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _cannot_write(path: Path, error: OSError | ValueError) -> SumiError:
    return SumiError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")
