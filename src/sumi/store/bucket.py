"""Files wherever fsspec reaches, so that servers of many machines share them: s3://BUCKET/PATH, gs://, memory://.

    path(bytes) = <address>/ab/cd/abcd...

An object store writes an object completely or not at all and acknowledges only durable objects, so there are no drafts
and nothing to flush. It has no locks either: a file that is put again while a sweep deletes it is lost. Its job is then
found without a file, and drawn again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import fsspec

from sumi.errors import SumiError
from sumi.store.files import IDENTITY, ORPHANS, Files, check_digest

__all__ = ["Bucket"]


class Bucket(Files):
    """Files under an address. fsspec finds the credentials, in environment variables or its own settings."""

    def __init__(self, address: str) -> None:
        self.name = address
        try:
            self._system, self._root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise SumiError(f"cannot keep pictures at {address}: {error}") from None

    @property
    def exists(self) -> bool:
        """Whether anything was ever put there."""
        return bool(self._system.exists(self._root))

    def put(self, data: bytes) -> str:
        """Write bytes; the object store has acknowledged them when this returns."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(self._path(digest), data)
        return digest

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield every digest and the size of its file."""
        return self._named(self._root, prefix)

    def orphans(self) -> Iterator[str]:
        """Yield every digest that was moved aside."""
        return (digest for digest, _ in self._named(f"{self._root}/{ORPHANS}"))

    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete an old file, or move it aside."""
        place = self._path(digest)
        try:
            if time.time() - self._system.modified(place).timestamp() < older_than_s:
                return False
            if put_aside:
                self._put(self._path(digest, ORPHANS), self._system.cat_file(place))
            self._system.rm_file(place)
        except FileNotFoundError:
            return False
        return True

    def identity(self) -> str | None:
        """Return the identity of the files' database."""
        try:
            data: bytes = self._system.cat_file(f"{self._root}/{IDENTITY}")
        except FileNotFoundError:
            return None
        return data.decode("ascii", "replace").strip()

    def identify(self, identity: str) -> None:
        """Set the identity of the files' database."""
        self._put(f"{self._root}/{IDENTITY}", f"{identity}\n".encode())

    def holds(self, digest: str) -> bool:
        """Return whether there is a file of that digest."""
        return bool(self._system.exists(self._path(digest)))

    def sweep_drafts(self, *, older_than_s: float) -> int:
        """Do nothing: there are no drafts."""
        return 0

    def _bytes(self, digest: str) -> bytes:
        data: bytes = self._system.cat_file(self._path(digest))
        return data

    def _path(self, digest: str, folder: str = "") -> str:
        return "/".join(filter(None, (self._root, folder, digest[:2], digest[2:4], check_digest(digest))))

    def _named(self, root: str, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the files below a path whose names are digests, and their sizes."""
        for place, entry in self._system.find(f"{root}/{prefix}".rstrip("/"), detail=True).items():
            *folders, first, second, name = str(place).split("/")
            if len(name) == 64 and name.startswith(first + second) and folders[-1:] == root.split("/")[-1:]:
                yield name, int(entry["size"])

    def _put(self, place: str, data: bytes) -> None:
        try:
            self._write(place, data)
        except FileNotFoundError:  # a file system needs its folders first
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._write(place, data)

    def _write(self, place: str, data: bytes) -> None:
        # A separate commit, so that even a file system that writes in pieces shows a complete file or none.
        file: Any = self._system.open(place, "wb", autocommit=False)
        with file:
            file.write(data)
        file.commit()
