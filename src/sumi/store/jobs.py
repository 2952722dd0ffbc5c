"""Jobs: what was asked, kept from the moment it is acknowledged to its one end.

    submit -> queued -> running -> succeeded | failed | canceled
                 ^---------'  its worker is gone, or gave it back

`submit` returns when the job is on the disk. `claim` hands a job to one worker; whatever that worker reports later
counts only while it still holds that very claim (status, worker and number of the attempt are compared in the statement
that changes them), so a job ends once, whoever believes to be running it. Pictures are files before their rows exist,
and the rows come with the end, in one transaction.

A process that dies leaves suspects: every job that it ran. A suspect is claimed to be run alone, and only a job that
was alone when its process died has failed once more; after three failures it is not tried again. What an operator stops
fails and suspects nothing.

Whose job is next is said in `turns.py`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.drawn import Drawn, row_of
from sumi.store.files import Files
from sumi.store.keys import locked_key
from sumi.store.leftovers import note
from sumi.store.limits import OverLimitError, spend
from sumi.store.pagination import Page, page
from sumi.store.schema import (
    CANCELED,
    FAILED,
    FINAL,
    QUEUED,
    RUNNING,
    STATUSES,
    SUCCEEDED,
    Input,
    Job,
    Key,
    Picture,
    canonical_sha256,
)
from sumi.store.turns import Beyond, charge, come_back, in_order
from sumi.store.worker import Worker, is_gone, was_stopped

__all__ = ["LEASE_S", "MOST_ATTEMPTS", "ConflictError", "Jobs"]

LEASE_S: Final = 60.0
"""How long a worker that is not heard of keeps its jobs. Clocks of machines that share a database must agree better."""
MOST_ATTEMPTS: Final = 3
"""How often a job may fail by itself before it is not tried again."""
PASSING: Final = ("server_error",)
"""Codes of errors that may have passed when the same request is sent again under its Idempotency-Key."""


class _UndoError(Exception):
    """Ends a transaction of which nothing is to stay."""


class ConflictError(SumiError):
    """An idempotency key that was used before, for something else."""


class Jobs:
    """The jobs of a database. `workers` is the folder in which workers of this machine show that they live."""

    def __init__(self, database: Database, files: Files, workers: Path, clock: Callable[[], float] = time.time) -> None:
        self._database, self._files, self._workers, self.clock = database, files, workers, clock

    # For whoever asks. Another's job is not there. ---------------------------------------------------------------

    def submit(
        self,
        key_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        priority: int = 0,
        idempotency_key: str | None = None,
        pixel_steps: int = 0,
        inputs: Collection[str] = (),
    ) -> Job:
        """Keep a job; it is acknowledged when this returns. `inputs` are the digests of the files that it is about.

        The same `idempotency_key` (per key of the API) with the same kind and request gives the job that it gave
        before, and costs nothing; with another, ConflictError. One that failed by a passing fault of the server is
        queued again. OverLimitError where the key may not now.
        """
        digest, now = canonical_sha256([kind, request]), self.clock()
        _check_idempotency_key(idempotency_key)
        with self._database.write() as session:
            key = locked_key(session, key_id)
            if before := _asked_before(session, key_id, idempotency_key, digest):
                if before.status == FAILED and (before.error or {}).get("code") in PASSING:
                    requeue(before)
                    before.error = None
                return before
            _check_concurrent(session, key)
            spend(session, key, "pixel_steps_per_day", pixel_steps, now)
            come_back(session, key)
            job = Job(
                id=f"job_{secrets.token_hex(16)}",
                key_id=key_id,
                kind=kind,
                request=dict(request),
                request_sha256=digest,
                idempotency_key=idempotency_key,
                priority=priority,
                pixel_steps=pixel_steps,
                created_at=now,
            )
            session.add(job)
            session.flush()
            session.add_all(Input(job_id=job.id, digest=digest) for digest in set(inputs))
        return job

    def check(
        self,
        key_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        pixel_steps: int = 0,
    ) -> None:
        """Raise what `submit` would raise now for the same job; nothing is kept, and nothing is spent."""
        digest = canonical_sha256([kind, request])
        _check_idempotency_key(idempotency_key)
        with suppress(_UndoError), self._database.write() as session:
            key = locked_key(session, key_id)
            if _asked_before(session, key_id, idempotency_key, digest) is None:
                _check_concurrent(session, key)
                spend(session, key, "pixel_steps_per_day", pixel_steps, self.clock())
            raise _UndoError

    def get(self, key_id: str | None, job_id: str) -> Job | None:
        """A job of this key, or, for None, of any."""
        with self._database.read() as session:
            return session.scalar(select(Job).where(Job.id == job_id, *_of(key_id)))

    def page(
        self, key_id: str | None, *, limit: int = 20, after: str | None = None, status: str | None = None
    ) -> Page[Job]:
        """Jobs of a key, or of all, the newest first, after the job `after`; SumiError where there is no such job."""
        if status is not None and status not in STATUSES:
            raise SumiError(f"there is no status {status[:20]!r}: a job is {', '.join(STATUSES)}")
        where = () if status is None else (Job.status == status,)
        with self._database.read() as session:
            return page(session, Job, key_id, *where, limit=limit, after=after)

    def look(self, job_id: str) -> Any:
        """What its worker last told of a job that is running, or None."""
        with self._database.read() as session:
            return session.scalar(select(Job.look).where(Job.id == job_id, Job.status == RUNNING))

    def pictures(self, key_id: str, job_id: str) -> list[Picture]:
        """What came of a job, in order."""
        query = select(Picture).where(Picture.job_id == job_id, Picture.key_id == key_id).order_by(Picture.position)
        with self._database.read() as session:
            return list(session.scalars(query))

    def cancel(self, key_id: str | None, job_id: str) -> Job | None:
        """End a job of this key, or of any, that is queued or running, and return it; one that is over stays so."""
        with self._database.write() as session:
            job = session.scalar(select(Job).where(Job.id == job_id, *_of(key_id)).with_for_update())
            if job is not None and job.status not in FINAL:
                _end(job, CANCELED, self.clock())
        return job

    def counts(self, key_id: str | None = None) -> dict[str, int]:
        """How many jobs there are of each status, of one key or of all."""
        query = select(Job.status, func.count()).group_by(Job.status)
        with self._database.read() as session:
            found = session.execute(query if key_id is None else query.where(Job.key_id == key_id)).all()
        return dict.fromkeys(STATUSES, 0) | {status: count for status, count in found}

    def waiting(self) -> dict[str, int]:
        """How many jobs of each key are queued."""
        query = select(Job.key_id, func.count()).where(Job.status == QUEUED).group_by(Job.key_id)
        with self._database.read() as session:
            return {key_id: count for key_id, count in session.execute(query)}

    # For whoever runs them. --------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """Begin to be a worker; close it when no more will be claimed."""
        return Worker(self._workers)

    def claim(
        self, worker: Worker, kinds: Collection[str] | None = None, *, beyond: Beyond | None = None
    ) -> Job | None:
        """Take the next job: of the highest priority, of the key that had the fewest pixel-steps, the oldest.

        Of keys that had as many, that with the fewest running jobs is next. Of one key, jobs that have failed go last.

        What it returns is the claim itself, to be handed to `succeed`, `fail` or `release`. Where it says `alone`, no
        other job may run in this process until it has ended or `join` was called. beyond: take only such a job.
        """
        waiting = select(Job).where(Job.status == QUEUED)
        if kinds is not None:
            waiting = waiting.where(Job.kind.in_(kinds))
        if beyond is not None:
            waiting = waiting.where(beyond.allows)
        with self._database.read() as session:  # asked often and mostly in vain, so without a writer's lock
            if session.scalar(waiting.with_only_columns(Job.number).limit(1)) is None:
                return None
        fairly = in_order(waiting).limit(1)
        with self._database.write() as session:
            job: Job | None = session.scalar(fairly.with_for_update(of=Job, skip_locked=True))
            if job is None:
                return None
            now = self.clock()
            job.status, job.worker, job.lease_until = RUNNING, worker.id, now + LEASE_S
            job.attempts += 1
            job.started_at, job.progress, job.error = now, 0.0, None
            job.alone = job.suspicions + job.failures > 0
            charge(session, job, 1)
        return job

    def join(self, claim: Job) -> None:
        """Let others run beside a job that was claimed to be alone."""
        with self._database.write() as session:
            if (job := _held(session, claim)) is not None:
                job.alone = False

    def heartbeat(
        self, worker: Worker, progress: Mapping[str, float], looks: Mapping[str, Any] | None = None
    ) -> frozenset[str]:
        """Renew the leases of the jobs named, noting how far they are; return the ids of those the worker still holds.

        What it does not name, it no longer draws: a claim that it lost sight of lapses, and is anybody's.

        looks: what is to be seen of some of them by now, as JSON values, for who watches in another process. A job that
        is not among those returned was canceled, or taken for lost: stop drawing it.
        """
        held = set()
        with self._database.write() as session:
            named = (Job.status == RUNNING, Job.worker == worker.id, Job.id.in_(list(progress)))
            for job in session.scalars(select(Job).where(*named).with_for_update()):
                job.lease_until = self.clock() + LEASE_S
                job.progress = min(max(progress[job.id], 0.0), 1.0)
                if looks and job.id in looks:
                    job.look = looks[job.id]
                held.add(job.id)
        return frozenset(held)

    def succeed(self, claim: Job, drawn: Sequence[Drawn]) -> bool:
        """End a job with its pictures; False, and nothing of it kept, where the claim no longer holds.

        A picture that was deleted before, when the job had ended once already, is not kept again.
        """
        gone = frozenset(claim.removed or ())
        kept = [(position, picture) for position, picture in enumerate(drawn) if position not in gone]
        digests = [hashlib.sha256(picture.data).hexdigest() for _, picture in kept]
        with self._database.write() as session:  # before the files, so that no file of ours is unknown after a crash
            note(session, digests, self.clock())
        for _, picture in kept:
            self._files.put(picture.data)
        with self._database.write() as session:
            job = _held(session, claim)
            if job is None:
                return False
            now = self.clock()
            _end(job, SUCCEEDED, now)
            job.progress, job.suspicions = 1.0, 0
            session.flush()
            session.add_all(row_of(job, *pair, digest, now) for pair, digest in zip(kept, digests, strict=True))
        return True

    def fail(self, claim: Job, code: str, message: str) -> bool:
        """End a job with an error; False where the claim no longer holds."""
        with self._database.write() as session:
            job = _held(session, claim)
            if job is not None:
                _end(job, FAILED, self.clock(), {"code": code, "message": message})
        return job is not None

    def release(self, worker: Worker, job_ids: Collection[str] | None = None) -> int:
        """Give back what a worker holds, or these jobs of it, as if never claimed; return how many jobs that was."""
        mine = select(Job).where(Job.status == RUNNING, Job.worker == worker.id)
        if job_ids is not None:
            mine = mine.where(Job.id.in_(list(job_ids)))
        with self._database.write() as session:
            released = session.scalars(mine.with_for_update()).all()
            for job in released:
                requeue(job)
                job.attempts -= 1
                charge(session, job, -1)
        return len(released)

    def recover(self) -> list[Job]:
        """Take back the jobs of workers that are gone: queued again, or failed after failing alone three times."""
        dead = defaultdict[str, list[Job]](list)
        with self._database.write() as session:
            running = select(Job).where(Job.status == RUNNING).with_for_update(skip_locked=True)
            for job in session.scalars(running):
                lapsed = job.lease_until is None or job.lease_until < self.clock()
                if lapsed or is_gone(self._workers, job.worker or ""):
                    dead[job.worker or ""].append(job)
            for worker, jobs in dead.items():
                self._judge(jobs, was_stopped(self._workers, worker))
        return [job for jobs in dead.values() for job in jobs]

    def _judge(self, jobs: Sequence[Job], stopped: bool) -> None:
        """Queue again what one dead worker ran; whatever was alone has failed, and without one all are suspects."""
        failed = [] if stopped else [job for job in jobs if job.alone] or (jobs if len(jobs) == 1 else [])
        told = "the server was stopped while it was drawn" if stopped else "the server stopped while it was drawn"
        for job in jobs:
            if job in failed:
                retry(job, "interrupted", told, self.clock())
            else:
                job.suspicions += not (stopped or failed)
                requeue(job)
                job.error = {"code": "interrupted", "message": f"{told}; it is queued again"}


def requeue(job: Job) -> None:
    """Put a job back to where it waited; what it had drawn is forgotten, and its place in the queue is its old one."""
    job.status, job.worker, job.lease_until, job.look = QUEUED, None, None, None
    job.started_at, job.finished_at, job.progress, job.alone = None, None, 0.0, False


def retry(job: Job, code: str, message: str, now: float) -> None:
    """Count a failure of a job and queue it again, saying why, or end it where it has failed often enough."""
    job.failures += 1
    error = {"code": code, "message": message}
    if job.failures < MOST_ATTEMPTS:
        requeue(job)
        job.error = error | {"message": f"{message}; it is queued again"}
    else:
        _end(job, FAILED, now, error | {"message": f"{message}, {job.failures} times; it is not tried again"})


def _end(job: Job, status: str, now: float, error: dict[str, Any] | None = None) -> None:
    job.status, job.error, job.finished_at, job.alone = status, error, now, False
    job.worker = job.lease_until = job.look = None


def _of(key_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that a job is of a key; none for None."""
    return () if key_id is None else (Job.key_id == key_id,)


def _held(session: Session, claim: Job) -> Job | None:
    """The claimed job, locked, if the claim still holds."""
    same = (Job.status == RUNNING, Job.worker == claim.worker, Job.attempts == claim.attempts)
    return session.scalar(select(Job).where(Job.id == claim.id, *same).with_for_update())


def _check_idempotency_key(value: str | None) -> None:
    if value is not None and not (1 <= len(value) <= 255 and value.isascii() and value.isprintable()):
        raise SumiError("an Idempotency-Key must be 1 to 255 printable ASCII characters")


def _asked_before(session: Session, key_id: str, idempotency_key: str | None, digest: str) -> Job | None:
    if idempotency_key is None:
        return None
    same = (Job.key_id == key_id, Job.idempotency_key == idempotency_key)
    job = session.scalar(select(Job).where(*same))
    if job is not None and job.request_sha256 != digest:
        raise ConflictError("this Idempotency-Key came with another request before; a new request needs a new one")
    return job


def _check_concurrent(session: Session, key: Key) -> None:
    if key.concurrent_jobs is None:
        return
    unfinished = select(func.count()).where(Job.key_id == key.id, Job.status.in_((QUEUED, RUNNING)))
    if session.scalars(unfinished).one() >= key.concurrent_jobs:
        jobs = f"{key.concurrent_jobs} job{'s' * (key.concurrent_jobs > 1)}"
        raise OverLimitError(f"the key may have {jobs} queued or running at a time; wait for one or cancel it", 1.0)
