"""Files written whole or not at all: the data goes into a temporary file beside the target, which is then renamed.

So a full disk or a killed process leaves no half file, and an older file stays until the new one is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from sumi.errors import SumiError


def write_atomic(path: str | Path, data: bytes | str) -> Path:
    """Write a file, replacing any of that name; text is written as UTF-8.

    Raises SumiError when the file cannot be written; the older file is then unchanged.
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
    """Write a file under a name that is free; FileExistsError where it is taken, SumiError where it cannot be written.

    The rename is a hard link, which never replaces a file, also where file names ignore case or two processes write at
    one time. A file system without hard links reserves the name with an empty file instead.
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
    """Write the data, flushed to the disk, under a hidden random name in the folder."""
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
