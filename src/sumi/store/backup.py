"""A store copied while it is used, and rows rebuilt from the pictures themselves.

    backup    every row, as one moment saw them, into a SQLite file; then every file that a row refers to
    restore   for every file that no row knows and that says how it was drawn: a job that succeeded, with its picture

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
from sumi.store.drawn import Drawn, row_of
from sumi.store.files import Folder, LostFileError
from sumi.store.leftovers import AT_ONCE
from sumi.store.reconcile import unknown_files
from sumi.store.schema import SUCCEEDED, Base, Input, Job, Leftover, Picture, canonical_sha256
from sumi.store.store import Store

__all__ = ["Known", "Restored", "backup", "restore"]


@dataclass(frozen=True)
class Known:
    """What a picture says of itself: how it was asked for, and the picture as an engine would hand it over."""

    kind: str
    request: Mapping[str, Any]
    drawn: Drawn


@dataclass(frozen=True)
class Restored:
    """How many pictures have rows again, and the digests of files that do not say how they were drawn."""

    pictures: int
    unreadable: tuple[str, ...]


def backup(store: Store, folder: Path) -> tuple[int, tuple[str, ...]]:
    """Copy a store into a new folder; return how many files were copied, and the digests of those that are lost.

    The server may go on meanwhile. SumiError where the folder is there already, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise SumiError(f"{folder} cannot be begun as a backup: {error.strerror or error}") from None
    (folder / "sumi.db").touch(mode=0o600)
    copy = Database(f"sqlite:///{folder / 'sumi.db'}")
    files, count, lost = Folder(folder / "pictures"), 0, []
    try:
        _copy_rows(store.database, copy)
        wanted = select(Picture.digest).union(select(Input.digest))
        with copy.read() as session:
            for digest in session.scalars(wanted.execution_options(yield_per=AT_ONCE)):
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
    """Copy every table in one transaction of each."""
    tables = Base.metadata.sorted_tables
    with source.read() as read, target.write() as written:
        if not source.is_sqlite:  # there a transaction sees one moment anyway
            read.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in reversed(tables):
            written.execute(table.delete())  # the rows that a new database begins with
        for table in tables:
            rows = read.execute(select(table).execution_options(yield_per=AT_ONCE))
            for some in rows.mappings().partitions():
                written.execute(insert(table), [dict(row) for row in some])


def restore(store: Store, read: Callable[[bytes], Known | None], key_id: str) -> Restored:
    """Give a key every picture that no row knows and that says how it was drawn; nothing else is changed.

    `read` returns what a file says of itself, None where it says nothing.
    """
    count, unreadable = 0, []
    for digest in unknown_files(store.database, store.files):
        try:
            data = store.files.read(digest)
        except LostFileError:
            unreadable.append(digest)
            continue
        known = read(data)
        if known is None:
            unreadable.append(digest)
            continue
        now = store.jobs.clock()
        with store.database.write() as session:
            if session.get(Leftover, digest) is not None:
                continue
            job = Job(
                id=f"job_{secrets.token_hex(16)}",
                key_id=key_id,
                kind=known.kind,
                request=dict(known.request),
                request_sha256=canonical_sha256([known.kind, known.request]),
                created_at=now,
                status=SUCCEEDED,
                progress=1.0,
                started_at=now,
                finished_at=now,
            )
            session.add(job)
            session.flush()
            session.add(row_of(job, 0, known.drawn, digest, now))
        count += 1
    return Restored(count, tuple(unreadable))
