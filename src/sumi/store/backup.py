"""Backups of a live store, and rows rebuilt from the pictures themselves.

    backup    every row, as of one moment, into a SQLite file; then every file that a row refers to
    restore   for every file that no row knows and that holds a recipe: a job that succeeded, with its picture

A backup is a store: `sumi serve --data FOLDER` opens it, whatever database it was taken from.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.files import Folder, LostFileError
from sumi.store.new_picture import NewPicture, make_picture_row
from sumi.store.reconcile import find_unknown_files
from sumi.store.schema import SUCCEEDED, Base, Job, JobInput, PictureRow, SweepCandidate, hash_canonical
from sumi.store.store import Store
from sumi.store.sweep import BATCH_SIZE

__all__ = ["RecoveredPicture", "RestoreReport", "backup_store", "restore_rows"]


@dataclass(frozen=True)
class RecoveredPicture:
    """What a file says about itself: the operation, the request, and the picture as an engine would deliver it."""

    kind: str
    request: Mapping[str, Any]
    picture: NewPicture


@dataclass(frozen=True)
class RestoreReport:
    """How many pictures have rows again, and the digests of files without a recipe."""

    pictures: int
    unreadable: tuple[str, ...]


def backup_store(store: Store, folder: Path) -> tuple[int, tuple[str, ...]]:
    """Copy a store into a new folder; the server may run meanwhile.

    Returns:
        How many files were copied, and the digests of those that are missing or damaged.

    Raises:
        SumiError: the folder exists, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise SumiError(f"cannot make a backup in {folder}: {error.strerror or error}") from None
    (folder / "sumi.db").touch(mode=0o600)
    copy = Database(f"sqlite:///{folder / 'sumi.db'}")
    files, count, lost = Folder(folder / "pictures"), 0, []
    try:
        _copy_rows(store.database, copy)
        wanted = select(PictureRow.digest).union(select(JobInput.digest))
        with copy.read() as session:
            for digest in session.scalars(wanted.execution_options(yield_per=BATCH_SIZE)):
                try:
                    files.put(store.files.read(digest))
                    count += 1
                except LostFileError:
                    lost.append(digest)
        files.identify(store.secret("store").hex())
    finally:
        copy.close()
    return count, tuple(lost)


def _copy_rows(source: Database, target: Database) -> None:
    """Copy every table, in one transaction of each database."""
    tables = Base.metadata.sorted_tables
    with source.read() as read, target.write() as written:
        if not source.is_sqlite:  # SQLite's transactions see one moment anyway
            read.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in reversed(tables):
            written.execute(table.delete())  # the rows of a new database
        for table in tables:
            rows = read.execute(select(table).execution_options(yield_per=BATCH_SIZE))
            for batch in rows.mappings().partitions():
                written.execute(insert(table), [dict(row) for row in batch])


def restore_rows(store: Store, read: Callable[[bytes], RecoveredPicture | None], key_id: str) -> RestoreReport:
    """Give a key every picture that no row knows and that holds a recipe; nothing else changes.

    Args:
        store: the store.
        read: returns what a file says about itself, None where it says nothing.
        key_id: who owns the pictures from now on.
    """
    count, unreadable = 0, []
    for digest in find_unknown_files(store.database, store.files):
        try:
            data = store.files.read(digest)
        except LostFileError:
            unreadable.append(digest)
            continue
        recovered = read(data)
        if recovered is None:
            unreadable.append(digest)
            continue
        now = store.jobs.clock()
        with store.database.write() as session:
            if session.get(SweepCandidate, digest) is not None:
                continue
            job = Job(
                id=f"job_{secrets.token_hex(16)}",
                key_id=key_id,
                kind=recovered.kind,
                request=dict(recovered.request),
                request_sha256=hash_canonical([recovered.kind, recovered.request]),
                created_at=now,
                status=SUCCEEDED,
                progress=1.0,
                started_at=now,
                finished_at=now,
            )
            session.add(job)
            session.flush()
            session.add(make_picture_row(job, 0, recovered.picture, digest, now))
        count += 1
    return RestoreReport(count, tuple(unreadable))
