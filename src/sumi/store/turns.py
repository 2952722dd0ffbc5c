"""Whose job is next: keys take turns by the pixel-steps of the jobs that were claimed for them.

A key that comes back is counted as having had as much as the least served of those with unfinished jobs, so that no key
saves up turns. (Start-time fair queueing, Goyal, Vin and Cheng 1996.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from sumi.store.schema import QUEUED, RUNNING, Job, Key

__all__ = ["Beyond", "charge", "come_back", "in_order"]


@dataclass(frozen=True)
class Beyond:
    """Which jobs may be claimed although every place is taken.

    Those of a higher priority, and those of the same one that belong to none of these keys.
    """

    priority: int
    keys: Collection[str] = ()

    @property
    def allows(self) -> ColumnElement[bool]:
        """The condition that a job is one of them."""
        return or_(
            Job.priority > self.priority, and_(Job.priority == self.priority, Job.key_id.not_in(list(self.keys)))
        )


def in_order(waiting: Select[Any]) -> Select[Any]:
    """Return a query for jobs in the order in which they are claimed."""
    running = select(Job.key_id, func.count().label("jobs")).where(Job.status == RUNNING).group_by(Job.key_id)
    at_work = running.subquery()
    joined = waiting.join(Key, Key.id == Job.key_id).outerjoin(at_work, at_work.c.key_id == Job.key_id)
    return joined.order_by(Job.priority.desc(), Key.turn, func.coalesce(at_work.c.jobs, 0), Job.failures, Job.number)


def charge(session: Session, job: Job, claims: int) -> None:
    """Add a claim of a job to what its key has had, or take it back."""
    cost = claims * max(1, job.pixel_steps)
    session.execute(
        update(Key).where(Key.id == job.key_id).values(turn=Key.turn + cost),
        execution_options={"synchronize_session": False},
    )


def come_back(session: Session, key: Key) -> None:
    """Count a key without unfinished jobs as having had as much as the least served of the others."""
    unfinished = Job.status.in_((QUEUED, RUNNING))
    if session.scalar(select(Job.number).where(Job.key_id == key.id, unfinished).limit(1)) is None:
        least = session.scalar(select(func.min(Key.turn)).join(Job, Job.key_id == Key.id).where(unfinished))
        key.turn = max(key.turn, least or 0)
