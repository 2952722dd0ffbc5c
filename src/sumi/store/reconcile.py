"""Rows and files brought to agree after whatever happened, in both directions.

    a row without its file    its job is drawn again, or fails, and says so; a file of another length is as good as none
    a file without a row      is put aside under orphans/ if this database wrote it (`leftovers.py`), and else left
    a job without its worker  is queued again, or fails after it failed alone three times

Run when a server starts, and now and then while it runs; every replica may, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.jobs import retry
from sumi.store.leftovers import AT_ONCE, batches, referenced
from sumi.store.schema import FINAL, SUCCEEDED, Input, Job, Leftover, Picture

__all__ = ["GRACE_S", "ReconcileReport", "file_faults", "mend_rows", "redraw", "unknown_files"]

GRACE_S: Final = 3600.0
"""A file is written before its row, by far less than this."""


@dataclass(frozen=True)
class ReconcileReport:
    """What a reconciliation did, as ids of jobs and numbers of files."""

    interrupted: tuple[str, ...]
    lost_pictures: tuple[str, ...]
    files_erased: int
    files_put_aside: int

    def __str__(self) -> str:
        parts = (
            (len(self.interrupted), "interrupted jobs taken back"),
            (len(self.lost_pictures), "jobs whose pictures were missing"),
            (self.files_erased, "deleted files erased"),
            (self.files_put_aside, "files that nothing referred to put aside"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to mend"


def mend_rows(database: Database, files: Files, now: float) -> list[str]:
    """Take back the jobs whose pictures have no file, or one of another length; return their ids."""
    with database.read() as session:
        lost = list(dict.fromkeys(_missing(session, files)))
    return [job_id for job_id in lost if redraw(database, job_id, now)]


def redraw(database: Database, job_id: str, now: float) -> bool:
    """Take back a job whose pictures were lost or damaged; return whether it had succeeded."""
    with database.write() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.status != SUCCEEDED:
            return False
        session.execute(delete(Picture).where(Picture.job_id == job_id))
        retry(job, "picture_missing", "a picture's file was missing from the store, or damaged", now)
        return True


def unknown_files(database: Database, files: Files) -> list[str]:
    """The digests of files that no row refers to, and that this database does not remember to have written."""
    found = []
    for digests in batches(files.digests()):
        with database.read() as session:
            known = referenced(session, digests)
            known |= set(session.scalars(select(Leftover.digest).where(Leftover.digest.in_(digests))))
        found += [digest for digest in digests if digest not in known]
    return found


def file_faults(database: Database, files: Files) -> list[str]:
    """Read every picture, and the inputs of every job that is not over; say which files are missing or damaged."""
    pictures = select(Picture.digest).distinct()
    inputs = select(Input.digest).join(Job, Job.id == Input.job_id).where(Job.status.not_in(FINAL)).distinct()
    found = []
    with database.read() as session:
        for digest in session.scalars(pictures.union(inputs).execution_options(yield_per=AT_ONCE)):
            try:
                files.read(digest)
            except SumiError as error:
                found.append(str(error))
    return found


def _missing(session: Session, files: Files) -> Iterator[str]:
    """The jobs whose pictures have no whole file. Rows are read before files are listed: a file precedes its row."""
    columns = select(Picture.digest, Picture.size_bytes, Picture.job_id).order_by(Picture.digest)
    rows = session.execute(columns.execution_options(yield_per=AT_ONCE))
    for begin, some in groupby(rows, key=lambda row: row[0][:2]):
        wanted = list(some)
        there = dict(files.sizes(begin))
        yield from (job_id for digest, size_bytes, job_id in wanted if there.get(digest) != size_bytes)
