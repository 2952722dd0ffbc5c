"""Sweeping: which files this database may delete. It wrote them for a row, or deleted the row that referred to them.

    note -> write file -> insert row    a crash in between leaves a file that is noted, and so known to be ours
    delete row + note                   a file that a person deleted

No other file is ever moved or deleted: a database that was lost, or that is older than the pictures, does not know
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.schema import JobInput, PictureRow, SweepCandidate

__all__ = ["BATCH_SIZE", "ERASE_AFTER_S", "find_referenced", "note_files", "split_batches", "sweep"]

BATCH_SIZE: Final = 500
ERASE_AFTER_S: Final = 60.0
"""Age below which a deleted picture's file is left alone: another job may just have written the same bytes."""


def note_files(session: Session, digests: Iterable[str], now: float, *, deleted: bool = False) -> None:
    """Note files that are about to be written, or, with `deleted`, whose rows this transaction deletes."""
    rows = [{"digest": digest, "noted_at": now, "deleted": deleted} for digest in sorted(set(digests))]
    if rows:
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        statement = insert(SweepCandidate).values(rows)
        changes = {name: statement.excluded[name] for name in ("noted_at", "deleted")}
        session.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=changes))


def sweep(database: Database, files: Files, now: float, grace_s: float) -> tuple[int, int]:
    """Delete the files of deleted pictures, and move aside files that no row came to refer to.

    Args:
        database: the store's database.
        files: the store's files.
        now: seconds since 1970.
        grace_s: age in seconds below which a file is left alone, because a row may be about to refer to it; deleted
            pictures wait for a minute at most.

    Returns:
        How many files were deleted, and how many were moved.
    """
    counts = {True: 0, False: 0}
    for deleted, wait_s in ((True, min(grace_s, ERASE_AFTER_S)), (False, grace_s)):
        due = (SweepCandidate.deleted == deleted, SweepCandidate.noted_at <= now - wait_s)
        with database.read() as session:
            found = session.scalars(select(SweepCandidate.digest).where(*due)).all()
        for batch in split_batches(iter(found)):
            with database.read() as session:
                kept = find_referenced(session, batch)
            settled = list(kept)
            for digest in set(batch) - kept:
                removed = files.remove(digest, older_than_s=wait_s, put_aside=not deleted)
                counts[deleted] += removed
                if removed or not files.holds(digest):
                    settled.append(digest)
            with database.write() as session:
                session.execute(delete(SweepCandidate).where(SweepCandidate.digest.in_(settled), *due))
    return counts[True], counts[False]


def find_referenced(session: Session, digests: Collection[str]) -> set[str]:
    """Return those digests that a row refers to."""
    kept = set(session.scalars(select(PictureRow.digest).where(PictureRow.digest.in_(digests))))
    return kept | set(session.scalars(select(JobInput.digest).where(JobInput.digest.in_(digests))))


def split_batches(digests: Iterator[str]) -> Iterator[list[str]]:
    """Yield digests in batches that one statement can hold."""
    while batch := list(islice(digests, BATCH_SIZE)):
        yield batch
