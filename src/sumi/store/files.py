"""Content-addressed files: written completely or not at all, and checked when read.

    path(bytes) = <root>/ab/cd/abcd...,    abcd... = sha256(bytes) in hex

A name of 64 digits always stands for a complete file. It exists before any row refers to it. Files that this database
wrote and no row refers to are moved to <root>/orphans/. <root>/store-id names the database that the files belong to. A
`Folder` keeps them on this machine, a `Bucket` (`bucket.py`) wherever fsspec reaches.
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
"""Pause between attempts to lock; a lock is held for one rename or deletion."""


class LostFileError(SumiError):
    """A stored file is missing, or its content has changed."""


class Files(ABC):
    """Content-addressed files. name: where they are, for people."""

    name: str

    @abstractmethod
    def put(self, data: bytes) -> str:
        """Write bytes and return their sha256 in hex. They are durable when this returns.

        Bytes that exist already are written again. That repairs a damaged file, and makes an old one young for
        `remove`.
        """

    @abstractmethod
    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield every digest and the size of its file, in no order. prefix: two digits that limit the search."""

    @abstractmethod
    def orphans(self) -> Iterator[str]:
        """Yield every digest that was moved aside."""

    @abstractmethod
    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete an old file, or move it to the orphans.

        Args:
            digest: the file.
            older_than_s: how many seconds ago it must have been written last.
            put_aside: move it and do not delete it.

        Returns:
            Whether that was done.
        """

    @abstractmethod
    def identity(self) -> str | None:
        """Return the identity of the database that the files belong to; None where they have none."""

    @abstractmethod
    def identify(self, identity: str) -> None:
        """Set the identity of the database that the files belong to."""

    @abstractmethod
    def holds(self, digest: str) -> bool:
        """Return whether there is a file of that digest."""

    def digests(self, prefix: str = "") -> Iterator[str]:
        """Yield every digest, in no order. prefix: two digits that limit them to one folder."""
        return (digest for digest, _ in self.sizes(prefix))

    @abstractmethod
    def sweep_drafts(self, *, older_than_s: float) -> int:
        """Delete unfinished files of dead processes; return how many."""

    @abstractmethod
    def _bytes(self, digest: str) -> bytes:
        """Return the bytes of a file, unchecked; FileNotFoundError where it is missing."""

    def read(self, digest: str) -> bytes:
        """Return the bytes of that digest; LostFileError where they are missing or damaged."""
        try:
            data = self._bytes(check_digest(digest))
        except FileNotFoundError:
            raise LostFileError(f"the picture {digest[:12]}... is missing from {self.name}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise LostFileError(f"the picture {digest[:12]}... in {self.name} is damaged: its sha256 has changed")
        return data


class Folder(Files):
    """Files in a folder of this machine, which several processes may share.

    A file is written under a temporary name, flushed and renamed, and its folder is flushed.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)
        try:
            (root / _WRITING).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SumiError(f"cannot keep pictures in {root}: {error.strerror or error}") from None

    def put(self, data: bytes) -> str:
        """Write bytes; they are on the disk when this returns."""
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
        """Return the path of a digest's file; SumiError for a name that is no digest."""
        return build_path(self.root, digest)

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield every digest and the size of its file."""
        for path in _named(self.root, prefix):
            with suppress(FileNotFoundError):
                yield path.name, path.stat().st_size

    def orphans(self) -> Iterator[str]:
        """Yield every digest that was moved aside."""
        return (path.name for path in _named(self.root / ORPHANS))

    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete an old file, or move it aside.

        The lock covers the check and the deletion, so no `put` of the same bytes is undone.
        """
        path, aside = self.path(digest), build_path(self.root / ORPHANS, digest)
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
        """Return the identity of the files' database."""
        try:
            return (self.root / IDENTITY).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def identify(self, identity: str) -> None:
        """Set the identity of the files' database."""
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
            except FileNotFoundError:  # it was finished meanwhile
                continue
        return count

    def _bytes(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.root / ".lock", "a", opener=_private) as lock:  # closing it unlocks
            lock_descriptor(lock.fileno(), poll_interval=LOCK_POLL_S)
            yield


def build_path(root: Path, digest: str) -> Path:
    """Return the path of a digest's file below a folder."""
    return root / digest[:2] / digest[2:4] / check_digest(digest)


def _named(root: Path, prefix: str = "") -> Iterator[Path]:
    """Yield the files below a folder whose names are digests."""
    for path in root.glob(f"{prefix or '[0-9a-f][0-9a-f]'}/[0-9a-f][0-9a-f]/*"):
        if _DIGEST.fullmatch(path.name):
            yield path


def check_digest(digest: str) -> str:
    """Return a digest; SumiError for a name that is none, so that no path comes from outside."""
    if not _DIGEST.fullmatch(digest):
        raise SumiError(f"{digest[:70]!r} is not the 64 hex digits of a sha256")
    return digest


def flush(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk; Windows cannot flush folders."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
