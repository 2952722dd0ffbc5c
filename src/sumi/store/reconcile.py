"""Reconciliation: makes rows, files and workers agree after any failure, in both directions.

    a row without its file    its job is drawn again, or fails and says so; a file of another length counts as missing
    a file without a row      is moved to orphans/ if this database wrote it (`sweep.py`), else left alone
    a job without its worker  is queued again, or fails after it failed alone three times

It runs when a server starts and now and then later; all replicas may run it at the same time.
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
from sumi.store.schema import FINAL, SUCCEEDED, Job, JobInput, PictureRow, SweepCandidate
from sumi.store.sweep import BATCH_SIZE, find_referenced, split_batches

__all__ = ["GRACE_S", "ReconcileReport", "find_file_faults", "find_unknown_files", "mend_rows", "redraw"]

GRACE_S: Final = 3600.0
"""Far longer than the time between writing a file and its row."""


@dataclass(frozen=True)
class ReconcileReport:
    """What a reconciliation did.

    Attributes:
        interrupted: ids of jobs whose worker was gone.
        lost_pictures: ids of jobs whose pictures were missing.
        files_erased, files_put_aside: numbers of files.
    """

    interrupted: tuple[str, ...]
    lost_pictures: tuple[str, ...]
    files_erased: int
    files_put_aside: int

    def __str__(self) -> str:
        parts = (
            (len(self.interrupted), "interrupted jobs queued again"),
            (len(self.lost_pictures), "jobs whose pictures were missing"),
            (self.files_erased, "deleted files erased"),
            (self.files_put_aside, "unreferenced files moved aside"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to repair"


def mend_rows(database: Database, files: Files, now: float) -> list[str]:
    """Queue the jobs again whose pictures have no file, or one of another length; return their ids."""
    with database.read() as session:
        lost = list(dict.fromkeys(_missing(session, files)))
    return [job_id for job_id in lost if redraw(database, job_id, now)]


def redraw(database: Database, job_id: str, now: float) -> bool:
    """Queue a job again whose pictures are missing or damaged; return whether it had succeeded."""
    with database.write() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is None or job.status != SUCCEEDED:
            return False
        session.execute(delete(PictureRow).where(PictureRow.job_id == job_id))
        retry(job, "picture_missing", "a picture's file was missing or damaged", now)
        return True


def find_unknown_files(database: Database, files: Files) -> list[str]:
    """Return the digests of files that no row refers to and that this database has no record of writing."""
    found = []
    for digests in split_batches(files.digests()):
        with database.read() as session:
            known = find_referenced(session, digests)
            known |= set(session.scalars(select(SweepCandidate.digest).where(SweepCandidate.digest.in_(digests))))
        found += [digest for digest in digests if digest not in known]
    return found


def find_file_faults(database: Database, files: Files) -> list[str]:
    """Read every picture, and the inputs of every unfinished job; return which files are missing or damaged."""
    pictures = select(PictureRow.digest).distinct()
    inputs = select(JobInput.digest).join(Job, Job.id == JobInput.job_id).where(Job.status.not_in(FINAL)).distinct()
    found = []
    with database.read() as session:
        for digest in session.scalars(pictures.union(inputs).execution_options(yield_per=BATCH_SIZE)):
            try:
                files.read(digest)
            except SumiError as error:
                found.append(str(error))
    return found


def _missing(session: Session, files: Files) -> Iterator[str]:
    """Yield the jobs whose pictures have no complete file; rows are read first, as files are written first."""
    columns = select(PictureRow.digest, PictureRow.size_bytes, PictureRow.job_id).order_by(PictureRow.digest)
    rows = session.execute(columns.execution_options(yield_per=BATCH_SIZE))
    for prefix, group in groupby(rows, key=lambda row: row[0][:2]):
        wanted = list(group)
        sizes = dict(files.sizes(prefix))
        yield from (job_id for digest, size_bytes, job_id in wanted if sizes.get(digest) != size_bytes)
