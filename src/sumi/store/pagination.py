"""Lists read a piece at a time: what comes after the last one seen, so nothing is missed or shown twice meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.schema import Job, Picture

__all__ = ["Page", "page"]

LONGEST_PAGE = 100
Row = TypeVar("Row", Job, Picture)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some of a list, and whether there are more; ask on with the last one's id as `after`."""

    items: list[Row]
    has_more: bool


def page(
    session: Session, kind: type[Row], key_id: str | None, *where: ColumnElement[bool], limit: int, after: str | None
) -> Page[Row]:
    """Read 1 to 100 rows of a key, or of all, the newest first; SumiError where `after` is not among them."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise SumiError(f"a page holds 1 to {LONGEST_PAGE} entries, and {limit} were asked for")
    of = () if key_id is None else (kind.key_id == key_id,)
    query = select(kind).where(*of, *where)
    if after is not None:
        last = session.scalar(select(kind.number).where(*of, kind.id == after))
        if last is None:
            raise SumiError(f"the list cannot go on after {after[:40]!r}: there is none of that id")
        query = query.where(kind.number < last)
    rows = list(session.scalars(query.order_by(kind.number.desc()).limit(limit + 1)))
    return Page(rows[:limit], len(rows) > limit)
