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
from sumi.store.files import Files, checked

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
        place = self._place(digest)
        try:
            self._write(place, data)
        except FileNotFoundError:  # where folders are real ones
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._write(place, data)
        return digest

    def digests(self, begin: str = "") -> Iterator[str]:
        """Every digest there is, or those that begin so."""
        for place in self._system.find(f"{self._root}/{begin}".rstrip("/")):
            name = str(place).rpartition("/")[2]
            if len(name) == 64:
                yield name

    def remove(self, digest: str, *, older_than_s: float) -> bool:
        """Delete an old file."""
        place = self._place(digest)
        try:
            if time.time() - self._system.modified(place).timestamp() < older_than_s:
                return False
            self._system.rm_file(place)
        except FileNotFoundError:
            return False
        return True

    def sweep_drafts(self, *, older_than_s: float) -> int:
        """There are none."""
        return 0

    def _bytes(self, digest: str) -> bytes:
        data: bytes = self._system.cat_file(self._place(digest))
        return data

    def _place(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{checked(digest)}"

    def _write(self, place: str, data: bytes) -> None:
        # Committed apart, so that even a file system that writes in pieces shows the file whole or not at all.
        file: Any = self._system.open(place, "wb", autocommit=False)
        with file:
            file.write(data)
        file.commit()
