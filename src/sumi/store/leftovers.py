"""Files that this database may sweep: it wrote them for a row, or deleted the row that referred to them.

    note -> put -> row        a crash in between leaves a file that is noted, and so known to be ours
    delete row + note         a file that a person deleted

No other file is ever moved or deleted: a database that was lost, or is older than the pictures, knows nothing of them.
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
from sumi.store.schema import Input, Leftover, Picture

__all__ = ["AT_ONCE", "ERASED_AFTER_S", "batches", "note", "referenced", "sweep"]

AT_ONCE: Final = 500
ERASED_AFTER_S: Final = 60.0
"""How young a file must be to be left where a person deleted it: another job may just have written the same bytes."""


def note(session: Session, digests: Iterable[str], now: float, *, deleted: bool = False) -> None:
    """Note files that are about to be written, or whose rows are deleted in this transaction."""
    rows = [{"digest": digest, "noted_at": now, "deleted": deleted} for digest in sorted(set(digests))]
    if rows:
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        statement = insert(Leftover).values(rows)
        changes = {name: statement.excluded[name] for name in ("noted_at", "deleted")}
        session.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=changes))


def sweep(database: Database, files: Files, now: float, grace_s: float) -> tuple[int, int]:
    """Erase what was deleted and put aside what no row came to refer to; return how many files of each.

    What was noted or written within the grace, seconds, is left: a row may be about to refer to it. What was deleted
    waits for a minute at most.
    """
    counts = {True: 0, False: 0}
    for deleted, wait_s in ((True, min(grace_s, ERASED_AFTER_S)), (False, grace_s)):
        due = (Leftover.deleted == deleted, Leftover.noted_at <= now - wait_s)
        with database.read() as session:
            found = session.scalars(select(Leftover.digest).where(*due)).all()
        for some in batches(iter(found)):
            with database.read() as session:
                kept = referenced(session, some)
            settled = list(kept)
            for digest in set(some) - kept:
                removed = files.remove(digest, older_than_s=wait_s, put_aside=not deleted)
                counts[deleted] += removed
                if removed or not files.holds(digest):
                    settled.append(digest)
            with database.write() as session:
                session.execute(delete(Leftover).where(Leftover.digest.in_(settled), *due))
    return counts[True], counts[False]


def referenced(session: Session, digests: Collection[str]) -> set[str]:
    """Those of some digests that a row refers to."""
    kept = set(session.scalars(select(Picture.digest).where(Picture.digest.in_(digests))))
    return kept | set(session.scalars(select(Input.digest).where(Input.digest.in_(digests))))


def batches(digests: Iterator[str]) -> Iterator[list[str]]:
    """A long row of digests in pieces that a statement can hold."""
    while batch := list(islice(digests, AT_ONCE)):
        yield batch
