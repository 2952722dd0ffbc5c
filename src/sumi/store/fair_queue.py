"""Fair queueing: keys take turns by the pixel-steps of their claimed jobs.

A key that returns starts at the virtual time of the least served active key, so an idle key saves up no credit
(start-time fair queueing, Goyal, Vin and Cheng 1996).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from sumi.store.schema import QUEUED, RUNNING, Job, Key

__all__ = ["PreemptionFilter", "catch_up_key", "charge_key", "order_fairly"]


@dataclass(frozen=True)
class PreemptionFilter:
    """Which jobs may be claimed although every place is taken.

    Attributes:
        priority: jobs of a higher priority may.
        keys: jobs of the same priority may, unless their key is one of these.
    """

    priority: int
    keys: Collection[str] = ()

    @property
    def allows(self) -> ColumnElement[bool]:
        """The condition, in SQL."""
        return or_(
            Job.priority > self.priority, and_(Job.priority == self.priority, Job.key_id.not_in(list(self.keys)))
        )


def order_fairly(waiting: Select[Any]) -> Select[Any]:
    """Return a query's jobs in the order in which they are claimed."""
    counts = select(Job.key_id, func.count().label("jobs")).where(Job.status == RUNNING).group_by(Job.key_id)
    running = counts.subquery()
    joined = waiting.join(Key, Key.id == Job.key_id).outerjoin(running, running.c.key_id == Job.key_id)
    num_running = func.coalesce(running.c.jobs, 0)
    return joined.order_by(Job.priority.desc(), Key.virtual_time, num_running, Job.failures, Job.number)


def charge_key(session: Session, job: Job, claims: int) -> None:
    """Charge a key for claims of a job; a negative number takes claims back."""
    cost = claims * max(1, job.pixel_steps)
    session.execute(
        update(Key).where(Key.id == job.key_id).values(virtual_time=Key.virtual_time + cost),
        execution_options={"synchronize_session": False},
    )


def catch_up_key(session: Session, key: Key) -> None:
    """Move an idle key's virtual time up to that of the least served active key."""
    unfinished = Job.status.in_((QUEUED, RUNNING))
    if session.scalar(select(Job.number).where(Job.key_id == key.id, unfinished).limit(1)) is None:
        least = session.scalar(select(func.min(Key.virtual_time)).join(Job, Job.key_id == Key.id).where(unfinished))
        key.virtual_time = max(key.virtual_time, least or 0)
