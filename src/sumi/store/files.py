"""Pictures under the name of what is in them: written whole or not at all, and checked when read.

    place(bytes) = <root>/ab/cd/abcd...,    abcd... = sha256(bytes) in hex

A name of 64 digits always stands for a whole file. It is there before anything refers to it; what this database wrote
and nothing refers to is later put aside, under <root>/orphans/. <root>/store-id says to which database they belong.
A `Folder` keeps them on this machine, a `Bucket` (`bucket.py`) wherever fsspec reaches.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from sumi.errors import SumiError

__all__ = ["IDENTITY", "ORPHANS", "Files", "Folder", "LostFileError", "check_digest", "flush"]

IDENTITY = "store-id"
ORPHANS = "orphans"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITING = "writing"
LOCK_POLL_S = 0.002
"""How often a lock that another process holds is tried again: it is held for a rename or a deletion."""


class LostFileError(SumiError):
    """A file that was kept is missing, or is no longer what it was."""


class Files(ABC):
    """Content-addressed files. name: where they are, for people."""

    name: str

    @abstractmethod
    def put(self, data: bytes) -> str:
        """Keep the bytes and return their sha256 in hex; they are kept when this returns.

        Bytes that are there already are written again: that mends a damaged file, and makes an old one new to `remove`.
        """

    @abstractmethod
    def sizes(self, begin: str = "") -> Iterator[tuple[str, int]]:
        """Every digest there is and the bytes of its file, in no order; those that begin with two digits, or all."""

    @abstractmethod
    def orphans(self) -> Iterator[str]:
        """Every digest that was put aside."""

    @abstractmethod
    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete a file that nothing has put for so many seconds, or move it to the orphans; whether that was done."""

    @abstractmethod
    def identity(self) -> str | None:
        """To which database the files say that they belong; None where they do not say."""

    @abstractmethod
    def identify(self, identity: str) -> None:
        """Say to which database the files belong."""

    @abstractmethod
    def holds(self, digest: str) -> bool:
        """Whether there is a file of that digest."""

    def digests(self, begin: str = "") -> Iterator[str]:
        """Every digest there is, in no order; those that begin with two given digits, or all."""
        return (digest for digest, _ in self.sizes(begin))

    @abstractmethod
    def sweep_drafts(self, *, older_than_s: float) -> int:
        """Delete what was being written when its process ended; return how many files that was."""

    @abstractmethod
    def _bytes(self, digest: str) -> bytes:
        """The bytes under a name that is a digest, whatever they are; FileNotFoundError."""

    def read(self, digest: str) -> bytes:
        """Return the bytes of that digest; LostFileError where they are missing or no longer what they were."""
        try:
            data = self._bytes(check_digest(digest))
        except FileNotFoundError:
            raise LostFileError(f"the picture {digest[:12]}... is missing from {self.name}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise LostFileError(f"the picture {digest[:12]}... in {self.name} is damaged: it no longer has its sha256")
        return data


class Folder(Files):
    """Files in one folder, which several processes of one machine may share.

    A file is written under a name nobody reads, flushed, renamed, and its folder flushed.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)
        try:
            (root / _WRITING).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SumiError(f"{root} cannot hold pictures: {error.strerror or error}") from None

    def put(self, data: bytes) -> str:
        """Keep the bytes; they are on the disk when this returns."""
        digest = hashlib.sha256(data).hexdigest()
        final, draft = self.path(digest), self.root / _WRITING / secrets.token_hex(16)
        try:
            with open(draft, "xb", opener=_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            for folder in (final.parent.parent, final.parent):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    flush(folder.parent)
            with self._lock():
                draft.replace(final)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        flush(final.parent)
        return digest

    def path(self, digest: str) -> Path:
        """Where the bytes of that digest lie, or would; a name that is no digest is a SumiError."""
        return place(self.root, digest)

    def sizes(self, begin: str = "") -> Iterator[tuple[str, int]]:
        """Every digest and its bytes, or those that begin so."""
        for path in _named(self.root, begin):
            with suppress(FileNotFoundError):
                yield path.name, path.stat().st_size

    def orphans(self) -> Iterator[str]:
        """Every digest that was put aside."""
        return (path.name for path in _named(self.root / ORPHANS))

    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete an old file, or put it aside.

        The lock stands between looking at the age and deleting, so that a `put` of the same bytes is never undone.
        """
        path, aside = self.path(digest), place(self.root / ORPHANS, digest)
        with self._lock():
            try:
                if time.time() - path.stat().st_mtime < older_than_s:
                    return False
                if put_aside:
                    aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    path.replace(aside)
                else:
                    path.unlink()
            except FileNotFoundError:
                return False
        return True

    def identity(self) -> str | None:
        """To which database the files say that they belong."""
        try:
            return (self.root / IDENTITY).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def identify(self, identity: str) -> None:
        """Say to which database the files belong."""
        draft = self.root / _WRITING / secrets.token_hex(16)
        with open(draft, "x", opener=_private) as file:
            file.write(identity + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.root / IDENTITY)
        flush(self.root)

    def holds(self, digest: str) -> bool:
        """Whether there is a file of that digest."""
        return self.path(digest).exists()

    def sweep_drafts(self, *, older_than_s: float) -> int:
        """Delete old drafts."""
        count = 0
        for path in (self.root / _WRITING).iterdir():
            try:
                if time.time() - path.stat().st_mtime >= older_than_s:
                    path.unlink()
                    count += 1
            except FileNotFoundError:  # finished in the meantime
                continue
        return count

    def _bytes(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.root / ".lock", "a", opener=_private) as lock:  # closing it lets go
            lock_descriptor(lock.fileno(), poll_interval=LOCK_POLL_S)
            yield


def place(root: Path, digest: str) -> Path:
    """Where the file of a digest lies below a folder."""
    return root / digest[:2] / digest[2:4] / check_digest(digest)


def _named(root: Path, begin: str = "") -> Iterator[Path]:
    """The files below a folder that are named by a digest."""
    for path in root.glob(f"{begin or '[0-9a-f][0-9a-f]'}/[0-9a-f][0-9a-f]/*"):
        if _DIGEST.fullmatch(path.name):
            yield path


def check_digest(digest: str) -> str:
    """Return a digest; SumiError for a name that is none, so that no path comes from outside."""
    if not _DIGEST.fullmatch(digest):
        raise SumiError(f"{digest[:70]!r} names no picture: a name is the 64 hex digits of a sha256")
    return digest


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, reach the disk; Windows flushes no folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
