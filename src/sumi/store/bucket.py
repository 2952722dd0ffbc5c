"""Pictures wherever fsspec reaches, so that servers of many machines share them: s3://BUCKET/PATH, gs://, memory://.

    place(bytes) = <address>/ab/cd/abcd...

An object store takes an object whole or not at all, and keeps it when it says so: there are no drafts and nothing to
flush. It has no locks either. A file that is put again in the moment in which it is swept away is lost; its job is then
found without it, and drawn again.
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
    """Files under an address. How to get in is fsspec's to find: variables of the environment, or its own settings."""

    def __init__(self, address: str) -> None:
        self.name = address
        try:
            self._system, self._root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise SumiError(f"{address} cannot hold pictures: {error}") from None

    @property
    def exists(self) -> bool:
        """Whether anything was ever put there."""
        return bool(self._system.exists(self._root))

    def put(self, data: bytes) -> str:
        """Keep the bytes; the store has said that it has them when this returns."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(self._place(digest), data)
        return digest

    def sizes(self, begin: str = "") -> Iterator[tuple[str, int]]:
        """Every digest and its bytes, or those that begin so."""
        return self._named(self._root, begin)

    def orphans(self) -> Iterator[str]:
        """Every digest that was put aside."""
        return (digest for digest, _ in self._named(f"{self._root}/{ORPHANS}"))

    def remove(self, digest: str, *, older_than_s: float, put_aside: bool = False) -> bool:
        """Delete an old file, or put it aside."""
        place = self._place(digest)
        try:
            if time.time() - self._system.modified(place).timestamp() < older_than_s:
                return False
            if put_aside:
                self._put(self._place(digest, ORPHANS), self._system.cat_file(place))
            self._system.rm_file(place)
        except FileNotFoundError:
            return False
        return True

    def identity(self) -> str | None:
        """To which database the files say that they belong."""
        try:
            said: bytes = self._system.cat_file(f"{self._root}/{IDENTITY}")
        except FileNotFoundError:
            return None
        return said.decode("ascii", "replace").strip()

    def identify(self, identity: str) -> None:
        """Say to which database the files belong."""
        self._put(f"{self._root}/{IDENTITY}", f"{identity}\n".encode())

    def holds(self, digest: str) -> bool:
        """Whether there is a file of that digest."""
        return bool(self._system.exists(self._place(digest)))

    def sweep_drafts(self, *, older_than_s: float) -> int:
        """There are none."""
        return 0

    def _bytes(self, digest: str) -> bytes:
        data: bytes = self._system.cat_file(self._place(digest))
        return data

    def _place(self, digest: str, folder: str = "") -> str:
        return "/".join(filter(None, (self._root, folder, digest[:2], digest[2:4], check_digest(digest))))

    def _named(self, root: str, begin: str = "") -> Iterator[tuple[str, int]]:
        """The files two folders below a place that are named by a digest, and their bytes."""
        for place, entry in self._system.find(f"{root}/{begin}".rstrip("/"), detail=True).items():
            *folders, first, second, name = str(place).split("/")
            if len(name) == 64 and name.startswith(first + second) and folders[-1:] == root.split("/")[-1:]:
                yield name, int(entry["size"])

    def _put(self, place: str, data: bytes) -> None:
        try:
            self._write(place, data)
        except FileNotFoundError:  # where folders are real ones
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._write(place, data)

    def _write(self, place: str, data: bytes) -> None:
        # Committed apart, so that even a file system that writes in pieces shows the file whole or not at all.
        file: Any = self._system.open(place, "wb", autocommit=False)
        with file:
            file.write(data)
        file.commit()
