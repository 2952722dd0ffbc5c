"""Everything that is kept, opened together.

<folder>/pictures/    files by their digests, unless an address says that they are elsewhere
<folder>/sumi.db      the database, likewise
<folder>/workers/     who is alive on this machine

Where both are elsewhere, each machine has a folder of its own. A database and its pictures carry the same identity, so
that no database is opened over the pictures of another.
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
from sumi.store.leftovers import batches, note, referenced, sweep
from sumi.store.reconcile import GRACE_S, ReconcileReport, file_faults, mend_rows, redraw, unknown_files
from sumi.store.schema import Picture, Secret
from sumi.store.worker import sweep_workers

__all__ = ["Store", "open_store"]


@dataclass(frozen=True)
class Store:
    """Keys, jobs and gallery over one database and one place of files; close it, or use it in a `with`."""

    folder: Path
    database: Database
    files: Files
    keys: Keys
    jobs: Jobs
    gallery: Gallery

    def reconcile(self, grace_s: float = GRACE_S) -> ReconcileReport:
        """Bring rows, files and workers to agree; to be run at every start."""
        interrupted = self.jobs.recover()
        sweep_workers(self.folder / "workers")
        lost = mend_rows(self.database, self.files, self.jobs.clock())
        return ReconcileReport(tuple(job.id for job in interrupted), tuple(lost), *self.sweep(grace_s))

    def sweep(self, grace_s: float = GRACE_S) -> tuple[int, int]:
        """Erase what was deleted, and put aside what this database wrote and nothing refers to; count both."""
        self.files.sweep_drafts(older_than_s=grace_s)
        return sweep(self.database, self.files, self.jobs.clock(), grace_s)

    def redraw(self, picture: Picture) -> bool:
        """Queue the job of a picture again, whose file was found damaged; return whether it had succeeded."""
        return redraw(self.database, picture.job_id, self.jobs.clock())

    def keep(self, data: bytes) -> str:
        """Put a file that a job will be about; return its digest. Without such a job it is later put aside."""
        with self.database.write() as session:
            note(session, [hashlib.sha256(data).hexdigest()], self.jobs.clock())
        return self.files.put(data)

    def secret(self, name: str) -> bytes:
        """Random bytes that every server of this database knows. There are those called `links` and `store`."""
        value = _secret(self.database, name)
        if value is None:
            raise SumiError(f"the database {self.database.name} has lost its secrets: put a backup in its place")
        return value

    def unknown_files(self) -> list[str]:
        """The digests of files that no row refers to, and that this database does not remember to have written."""
        return unknown_files(self.database, self.files)

    def integrity_check(self) -> list[str]:
        """Say what is wrong, reading the whole database and every picture; empty when nothing is."""
        return self.database.faults() + file_faults(self.database, self.files)

    def close(self) -> None:
        """Let go of the database."""
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
    """Open, or begin, a store in a folder; `url` is the address of a database other than the folder's own.

    `pictures` is another folder for them, or an address that fsspec knows (s3://BUCKET/PATH); `clock` gives seconds
    since 1970. `adopt` takes over pictures that a lost database left, to rebuild its rows.

    Raises SumiError where the folder cannot be written, the database cannot be opened, is damaged, or a newer Sumi
    wrote it; where it knows pictures and there are none where they should be; and where the pictures belong to another
    database.
    """
    folder = Path(folder).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SumiError(f"{folder} cannot hold a store: {error.strerror or error}") from None
    place = str(pictures or folder / "pictures")
    bucket = Bucket(place) if "://" in place else None
    path = Path(place).expanduser().absolute()
    exists = path.exists() if bucket is None else bucket.exists
    files = bucket or (Folder(path) if exists else None)
    if url is None:
        file = folder / "sumi.db"
        if not adopt and files and not (file.exists() and file.stat().st_size) and any(files.digests()):
            raise SumiError(f"{place} holds pictures, and their database {file} is lost or empty: {_REMEDY}")
        file.touch(mode=0o600)
    database = Database(url or f"sqlite:///{folder / 'sumi.db'}")
    try:
        if not exists and _knows_pictures(database):  # a wrong folder, or a disk that is not mounted
            raise SumiError(
                f"the database {database.name} knows pictures, and there is no {place}: give the place that has them;"
                " if they are lost, make it, and they are drawn again"
            )
        files = files or Folder(path)
        _identify(database, files, adopt)
    except BaseException:
        database.close()
        raise
    jobs = Jobs(database, files, folder / "workers", clock)
    return Store(folder, database, files, Keys(database, clock), jobs, Gallery(database, files, clock))


_REMEDY = "put a backup of it there, or rebuild it from the pictures with `sumi store restore`"


def _identify(database: Database, files: Files, adopt: bool) -> None:
    """Have the database and its pictures carry the same identity; SumiError where they carry two."""
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
            f"the pictures in {files.name} are not those of the database {database.name}: give the database and the"
            f" pictures that belong together; if that database is lost, {_REMEDY}"
        )


def _is_of(database: Database, files: Files) -> bool:
    """Whether pictures that do not say whose they are can be those of a database: there are none, or it knows some."""
    digests = list(islice(files.digests(), 10_000))
    with database.read() as session:
        return not digests or any(referenced(session, some) for some in batches(iter(digests)))


def _secret(database: Database, name: str) -> bytes | None:
    with database.read() as session:
        return session.scalar(select(Secret.value).where(Secret.name == name))


def _knows_pictures(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(Picture.number).limit(1)) is not None
