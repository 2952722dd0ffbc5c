"""Lists in pages: each page starts after the last row of the one before, so new rows shift nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.schema import Job, PictureRow, Review

__all__ = ["Page", "page"]

MAX_PAGE = 100
Row = TypeVar("Row", Job, PictureRow, Review)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of a list, and whether there are more; the next page comes `after` the last row's id."""

    items: list[Row]
    has_more: bool


def page(
    session: Session,
    kind: type[Row],
    key_id: str | None,
    *where: ColumnElement[bool],
    limit: int,
    after: str | None,
) -> Page[Row]:
    """Read 1 to 100 rows of a key, or of all keys for None, the newest first; SumiError where `after` is unknown."""
    if not 1 <= limit <= MAX_PAGE:
        raise SumiError(f"a page holds 1 to {MAX_PAGE} entries, not {limit}")
    of = () if key_id is None else (kind.key_id == key_id,)
    query = select(kind).where(*of, *where)
    if after is not None:
        last = session.scalar(select(kind.number).where(*of, kind.id == after))
        if last is None:
            raise SumiError(f"the list has no entry with the id {after[:40]!r}")
        query = query.where(kind.number < last)
    rows = list(session.scalars(query.order_by(kind.number.desc()).limit(limit + 1)))
    return Page(rows[:limit], len(rows) > limit)
