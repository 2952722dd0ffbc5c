"""The store: a database and a place of files, opened together.

    <folder>/pictures/    files by their digests, unless they are elsewhere
    <folder>/sumi.db      the database, unless it is elsewhere
    <folder>/workers/     which workers of this machine are alive

Where database and pictures are elsewhere, each machine has a folder of its own. A database and its pictures carry the
same identity, so no database is opened with the pictures of another.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from sumi.errors import SumiError
from sumi.store.bucket import Bucket
from sumi.store.database import Database
from sumi.store.files import Files, Folder
from sumi.store.gallery import Gallery
from sumi.store.jobs import Jobs
from sumi.store.keys import Keys
from sumi.store.reconcile import GRACE_S, ReconcileReport, find_file_faults, find_unknown_files, mend_rows, redraw
from sumi.store.reviews import Reviews
from sumi.store.schema import PictureRow, Secret
from sumi.store.sweep import find_referenced, note_files, split_batches, sweep
from sumi.store.worker import sweep_workers

__all__ = ["Store", "open_store"]


@dataclass(frozen=True)
class Store:
    """Keys, jobs and gallery over one database and one place of files; close it, or use it in a `with` block."""

    folder: Path
    database: Database
    files: Files
    keys: Keys
    jobs: Jobs
    gallery: Gallery
    reviews: Reviews

    def reconcile(self, grace_s: float = GRACE_S) -> ReconcileReport:
        """Make rows, files and workers agree. Run it at every start.

        grace_s: age in seconds below which an unreferenced file is left alone.
        """
        interrupted = self.jobs.recover()
        sweep_workers(self.folder / "workers")
        lost = mend_rows(self.database, self.files, self.jobs.clock())
        return ReconcileReport(tuple(job.id for job in interrupted), tuple(lost), *self.sweep(grace_s))

    def sweep(self, grace_s: float = GRACE_S) -> tuple[int, int]:
        """Delete the files of deleted pictures, and move unreferenced files aside.

        Returns:
            How many files were deleted, and how many were moved.
        """
        self.files.sweep_drafts(older_than_s=grace_s)
        return sweep(self.database, self.files, self.jobs.clock(), grace_s)

    def redraw(self, picture: PictureRow) -> bool:
        """Queue the job of a damaged picture again; return whether it had succeeded."""
        return redraw(self.database, picture.job_id, self.jobs.clock())

    def keep(self, data: bytes) -> str:
        """Write a file that a job will start from, and return its digest; a sweep removes it if no job follows."""
        with self.database.write() as session:
            note_files(session, [hashlib.sha256(data).hexdigest()], self.jobs.clock())
        return self.files.put(data)

    def secret(self, name: str) -> bytes:
        """Return random bytes that every server of this database shares. name: `links` or `store`."""
        value = _secret(self.database, name)
        if value is None:
            raise SumiError(f"the database {self.database.name} has lost its secrets: restore a backup")
        return value

    def unknown_files(self) -> list[str]:
        """Return the digests of files that no row refers to and that this database has no record of writing."""
        return find_unknown_files(self.database, self.files)

    def integrity_check(self) -> list[str]:
        """Read the whole database and every picture, and return what is wrong, a line each."""
        return self.database.faults() + find_file_faults(self.database, self.files)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_store(
    folder: str | Path,
    url: str | None = None,
    clock: Callable[[], float] = time.time,
    *,
    pictures: str | Path | None = None,
    adopt: bool = False,
) -> Store:
    """Open or create a store.

    Args:
        folder: where everything lies that is not elsewhere.
        url: address of another database than the folder's own, as postgresql://USER@HOST/NAME.
        clock: gives seconds since 1970.
        pictures: another folder for pictures, or an address that fsspec knows (s3://BUCKET/PATH).
        adopt: take over the pictures of a lost database, to rebuild its rows.

    Raises:
        SumiError: the folder cannot be written; the database cannot be opened, is damaged, or was written by a newer
            Sumi; the database knows pictures and their place is missing; or the pictures belong to another database.
    """
    folder = Path(folder).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SumiError(f"cannot open a store in {folder}: {error.strerror or error}") from None
    place = str(pictures or folder / "pictures")
    bucket = Bucket(place) if "://" in place else None
    path = Path(place).expanduser().absolute()
    exists = path.exists() if bucket is None else bucket.exists
    files = bucket or (Folder(path) if exists else None)
    if url is None:
        file = folder / "sumi.db"
        if not adopt and files and not (file.exists() and file.stat().st_size) and any(files.digests()):
            raise SumiError(f"{place} holds pictures, but their database {file} is missing or empty: {_REMEDY}")
        file.touch(mode=0o600)
    database = Database(url or f"sqlite:///{folder / 'sumi.db'}")
    try:
        if not exists and _knows_pictures(database):  # a wrong folder, or an unmounted disk
            raise SumiError(
                f"the database {database.name} knows pictures, but {place} does not exist: give the place that has"
                " them; if they are lost, create it, and they are drawn again"
            )
        files = files or Folder(path)
        _identify(database, files, adopt)
    except BaseException:
        database.close()
        raise
    jobs = Jobs(database, files, folder / "workers", clock)
    gallery = Gallery(database, files, clock)
    return Store(folder, database, files, Keys(database, clock), jobs, gallery, Reviews(database, clock))


_REMEDY = "restore a backup of it, or rebuild it from the pictures with `sumi store restore`"


def _identify(database: Database, files: Files, adopt: bool) -> None:
    """Give the database and its pictures the same identity; SumiError where they have two."""
    secret, theirs = _secret(database, "store"), files.identity()
    own = None if secret is None else secret.hex()
    if own is not None and own == theirs:
        return
    if own is not None and theirs is None and (adopt or _is_of(database, files)):
        files.identify(own)
    elif adopt and theirs is not None and not _knows_pictures(database):
        with database.write() as session:
            session.merge(Secret(name="store", value=bytes.fromhex(theirs)))
    else:
        raise SumiError(
            f"the pictures in {files.name} do not belong to the database {database.name}: give a database and its own"
            f" pictures; if their database is lost, {_REMEDY}"
        )


def _is_of(database: Database, files: Files) -> bool:
    """Return whether pictures without an identity can be a database's: it knows some of them, or there are none."""
    digests = list(islice(files.digests(), 10_000))
    with database.read() as session:
        return not digests or any(find_referenced(session, some) for some in split_batches(iter(digests)))


def _secret(database: Database, name: str) -> bytes | None:
    with database.read() as session:
        return session.scalar(select(Secret.value).where(Secret.name == name))


def _knows_pictures(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(PictureRow.number).limit(1)) is not None
