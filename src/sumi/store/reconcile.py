"""Rows and files brought to agree after whatever happened, in both directions.

    a row without its file    its job is drawn again, or fails, and says so
    a file without a row      is deleted, once it is older than whatever may still be about to refer to it
    a job without its worker  is queued again, or fails after the third attempt

Run when a server starts, and now and then while it runs; every replica may, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.jobs import retry
from sumi.store.schema import FINAL, SUCCEEDED, Input, Job, Picture

__all__ = ["GRACE_S", "Mended", "file_faults", "mend_rows", "sweep_files"]

GRACE_S: Final = 3600.0
"""A file is written before its row, by far less than this."""
_AT_ONCE = 500


@dataclass(frozen=True)
class Mended:
    """What a reconciliation did, as ids of jobs and numbers of files."""

    interrupted: tuple[str, ...]
    lost_pictures: tuple[str, ...]
    files_removed: int

    def __str__(self) -> str:
        parts = (
            (len(self.interrupted), "interrupted jobs taken back"),
            (len(self.lost_pictures), "jobs whose pictures were missing"),
            (self.files_removed, "files that nothing referred to removed"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to mend"


def mend_rows(database: Database, files: Files, now: float) -> list[str]:
    """Take back the jobs whose pictures have no file; return their ids."""
    taken = []
    with database.read() as session:
        lost = list(dict.fromkeys(_missing(session, files)))
    for job_id in lost:
        with database.write() as session:
            job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
            if job is not None and job.status == SUCCEEDED:
                session.execute(delete(Picture).where(Picture.job_id == job_id))
                retry(job, "picture_missing", "a picture's file was missing from the store", now)
                taken.append(job_id)
    return taken


def sweep_files(database: Database, files: Files, grace_s: float = GRACE_S) -> int:
    """Delete files that no row refers to and drafts that were never finished; return how many."""
    count = files.sweep_drafts(older_than_s=grace_s)
    for digests in _batches(files.digests()):
        with database.read() as session:
            kept = set(session.scalars(select(Picture.digest).where(Picture.digest.in_(digests))))
            kept |= set(session.scalars(select(Input.digest).where(Input.digest.in_(digests))))
        count += sum(files.remove(digest, older_than_s=grace_s) for digest in digests if digest not in kept)
    return count


def file_faults(database: Database, files: Files) -> list[str]:
    """Read every picture, and the inputs of every job that is not over; say which files are missing or damaged."""
    pictures = select(Picture.digest).distinct()
    inputs = select(Input.digest).join(Job, Job.id == Input.job_id).where(Job.status.not_in(FINAL)).distinct()
    found = []
    with database.read() as session:
        for digest in session.scalars(pictures.union(inputs).execution_options(yield_per=_AT_ONCE)):
            try:
                files.read(digest)
            except SumiError as error:
                found.append(str(error))
    return found


def _missing(session: Session, files: Files) -> Iterator[str]:
    """The jobs whose pictures have no file. Rows are read before files are listed: a file comes before its row."""
    rows = session.execute(
        select(Picture.digest, Picture.job_id).order_by(Picture.digest).execution_options(yield_per=_AT_ONCE)
    )
    for begin, some in groupby(rows, key=lambda row: row[0][:2]):
        wanted = list(some)
        there = set(files.digests(begin))
        yield from (job_id for digest, job_id in wanted if digest not in there)


def _batches(digests: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(digests, _AT_ONCE)):
        yield batch
