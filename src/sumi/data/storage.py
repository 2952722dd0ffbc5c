"""Files on this machine, or behind a URL that fsspec opens (s3, gs, https, hf, ...)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any

from sumi.errors import SumiError

__all__ = ["expand_pattern", "is_url", "open_file", "read_range", "version_of"]

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
WILD = "*?["


def is_url(place: str) -> bool:
    """Whether a place is a URL and not a path."""
    return "://" in place


def expand_pattern(place: str) -> list[str]:
    """Return the files that a place means, sorted: one file, a pattern with * or ?, or a range as in {0000..0099}.tar.

    Raises:
        SumiError: when there is none, or when a URL cannot be opened.
    """
    if ranged := _BRACES.search(place):
        first, last = ranged.groups()
        numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        before, after = place[: ranged.start()], place[ranged.end() :]
        return [name for number in numbers for name in expand_pattern(before + number + after)]
    wild = any(sign in place for sign in WILD)
    if is_url(place):
        found = _expand_url(place, wild)
    else:
        path = Path(place)
        found = [place] if path.is_file() else sorted(map(str, path.parent.glob(path.name))) if wild else []
    if not found:
        raise SumiError(f"there is no file {place!r}")
    return found


def _expand_url(place: str, wild: bool) -> list[str]:
    fs, path = _file_system(place)
    try:
        if wild:
            return [str(fs.unstrip_protocol(name)) for name in sorted(fs.glob(path))]
        return [place] if fs.exists(path) else []
    except Exception as error:  # each kind of storage raises errors of its own
        raise _failure(place, error) from None


def open_file(place: str) -> IO[bytes]:
    """Open a file for reading, one that can be sought in; SumiError where it cannot be opened."""
    if not is_url(place):
        try:
            return Path(place).open("rb")
        except OSError as error:
            raise SumiError(f"cannot read {place}: {error.strerror or error}") from None
    fs, path = _file_system(place)
    try:
        opened: IO[bytes] = fs.open(path, "rb")
    except Exception as error:  # each kind of storage raises errors of its own
        raise _failure(place, error) from None
    return opened


def read_range(place: str, offset: int, size: int) -> bytes:
    """Return a part of a file; SumiError where the file ends before it."""
    if is_url(place):
        fs, path = _file_system(place)
        try:
            data = bytes(fs.cat_file(path, start=offset, end=offset + size))
        except Exception as error:  # each kind of storage raises errors of its own
            raise _failure(place, error) from None
    else:
        with open_file(place) as file:
            file.seek(offset)
            data = file.read(size)
    if len(data) < size:
        raise SumiError(f"{place} ends within one of its files: it was not copied whole")
    return data


def version_of(place: str) -> tuple[int, int] | None:
    """Return what changes when a local file is written again; None for a URL and for a missing file."""
    try:
        status = None if is_url(place) else Path(place).stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)


def _file_system(place: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise SumiError(f'opening {place!r} needs fsspec: pip install "sumi[data]"') from None
    try:
        fs, path = fsspec.core.url_to_fs(place)
    except Exception as error:  # an unknown protocol, or one whose package is missing
        raise _failure(place, error) from None
    return fs, str(path)


def _failure(place: str, error: Exception) -> SumiError:
    return SumiError(f"cannot open {place!r}: {' '.join(str(error).split())[:200] or type(error).__name__}")
