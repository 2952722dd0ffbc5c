"""Everything that is kept, opened together.

<folder>/pictures/    files by their digests, unless an address says that they are elsewhere
<folder>/sumi.db      the database, likewise
<folder>/workers/     who is alive on this machine

Where both are elsewhere, each machine has a folder of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
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
from sumi.store.reconcile import GRACE_S, Mended, file_faults, mend_rows, sweep_files
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

    def reconcile(self, grace_s: float = GRACE_S) -> Mended:
        """Bring rows, files and workers to agree; to be run at every start."""
        interrupted = self.jobs.recover()
        sweep_workers(self.folder / "workers")
        lost = mend_rows(self.database, self.files, self.jobs.clock())
        removed = sweep_files(self.database, self.files, grace_s)
        return Mended(tuple(job.id for job in interrupted), tuple(lost), removed)

    def secret(self, name: str) -> bytes:
        """Random bytes that every server of this database knows. There are those called `links`."""
        with self.database.read() as session:
            return session.get_one(Secret, name).value

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
) -> Store:
    """Open, or begin, a store in a folder; `url` is the address of a database other than the folder's own.

    `pictures` is another folder for them, or an address that fsspec knows (s3://BUCKET/PATH); `clock` gives seconds
    since 1970.

    Raises SumiError where the folder cannot be written, the database cannot be opened, a newer Sumi wrote it,
    or it knows pictures and there are none where they should be.
    """
    folder = Path(folder).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SumiError(f"{folder} cannot hold a store: {error.strerror or error}") from None
    if url is None:
        (folder / "sumi.db").touch(mode=0o600)
    place = str(pictures or folder / "pictures")
    bucket = Bucket(place) if "://" in place else None
    database = Database(url or f"sqlite:///{folder / 'sumi.db'}")
    exists = Path(place).exists() if bucket is None else bucket.exists
    if not exists and _knows_pictures(database):  # a wrong folder, or a disk that is not mounted
        database.close()
        raise SumiError(
            f"the database {database.name} knows pictures, and there is no {place}: give the place that has them;"
            " if they are lost, make it, and they are drawn again"
        )
    files = bucket or Folder(Path(place).expanduser().absolute())
    jobs = Jobs(database, files, folder / "workers", clock)
    return Store(folder, database, files, Keys(database, clock), jobs, Gallery(database, files))


def _knows_pictures(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(Picture.number).limit(1)) is not None
