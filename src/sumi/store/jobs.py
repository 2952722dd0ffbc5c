"""Jobs: stored from the moment they are acknowledged to their one end.

    submit -> queued -> running -> succeeded | failed | canceled
                 ^---------'  its worker is gone, or gave it back

`submit` returns when the job is on the disk. `claim` hands a job to one worker. What the worker reports later counts
only while it still holds that claim: the statement that changes the row compares status, worker and attempt. So a job
ends once, even if two workers run it. Pictures are files before they are rows, and the transaction that ends the job
inserts the rows.

A process that crashes leaves suspects: all jobs that it ran. A suspect runs alone when it is claimed again, and only a
job that ran alone when its process crashed counts a failure; after three failures it is not tried again. A stop by an
operator counts no failure and makes no suspect.

`fair_queue.py` decides whose job is next.
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
from sumi.store.fair_queue import PreemptionFilter, catch_up_key, charge_key, order_fairly
from sumi.store.files import Files
from sumi.store.keys import lock_key
from sumi.store.limits import OverLimitError, spend
from sumi.store.new_picture import NewPicture, make_picture_row
from sumi.store.pagination import Page, page
from sumi.store.schema import (
    CANCELED,
    FAILED,
    FINAL,
    QUEUED,
    RUNNING,
    STATUSES,
    SUCCEEDED,
    Job,
    JobInput,
    Key,
    PictureRow,
    hash_canonical,
)
from sumi.store.sweep import note_files
from sumi.store.worker import Worker, is_gone, was_stopped

__all__ = ["LEASE_S", "MOST_ATTEMPTS", "ConflictError", "Jobs"]

LEASE_S: Final = 60.0
"""How long a silent worker keeps its jobs. The clocks of machines that share a database must agree better."""
MOST_ATTEMPTS: Final = 3
"""Failures after which a job is not tried again."""
TRANSIENT_CODES: Final = ("server_error",)
"""Error codes of jobs that are queued again when their request is repeated under its Idempotency-Key."""


class _UndoError(Exception):
    """Rolls a transaction back."""


class ConflictError(SumiError):
    """An idempotency key that was used before for another request."""


class Jobs:
    """The jobs of a database.

    Args:
        database, files: the store's.
        workers: the folder in which workers of this machine show that they are alive.
        clock: gives seconds since 1970.
    """

    def __init__(self, database: Database, files: Files, workers: Path, clock: Callable[[], float] = time.time) -> None:
        self._database, self._files, self._workers, self.clock = database, files, workers, clock

    # For clients. ------------------------------------------------------------------------------------------------

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
        """Store a job. It is durable when this returns.

        The same `idempotency_key` (per API key) with the same kind and request returns the job of the first call, at no
        cost. A job that failed by a transient error is then queued again.

        Args:
            key_id: the owner.
            kind: the name of the operation.
            request: the job's spec, as JSON values.
            priority: a higher priority is claimed first.
            idempotency_key: makes retries safe.
            pixel_steps: the cost that the key's daily allowance is charged.
            inputs: digests of the files that the job starts from.

        Raises:
            ConflictError: the idempotency key was used for another request.
            OverLimitError: the key has used its allowance.
        """
        digest, now = hash_canonical([kind, request]), self.clock()
        _check_idempotency_key(idempotency_key)
        with self._database.write() as session:
            key = lock_key(session, key_id)
            if before := _find_earlier(session, key_id, idempotency_key, digest):
                if before.status == FAILED and (before.error or {}).get("code") in TRANSIENT_CODES:
                    requeue(before)
                    before.error = None
                return before
            _check_concurrent(session, key)
            spend(session, key, "pixel_steps_per_day", pixel_steps, now)
            catch_up_key(session, key)
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
            session.add_all(JobInput(job_id=job.id, digest=digest) for digest in set(inputs))
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
        """Raise what `submit` would raise now for the same job, and store nothing."""
        digest = hash_canonical([kind, request])
        _check_idempotency_key(idempotency_key)
        with suppress(_UndoError), self._database.write() as session:
            key = lock_key(session, key_id)
            if _find_earlier(session, key_id, idempotency_key, digest) is None:
                _check_concurrent(session, key)
                spend(session, key, "pixel_steps_per_day", pixel_steps, self.clock())
            raise _UndoError

    def get(self, key_id: str | None, job_id: str) -> Job | None:
        """Return a job of a key, or of any key for None."""
        with self._database.read() as session:
            return session.scalar(select(Job).where(Job.id == job_id, *_of_key(key_id)))

    def page(
        self, key_id: str | None, *, limit: int = 20, after: str | None = None, status: str | None = None
    ) -> Page[Job]:
        """Return a page of jobs, the newest first.

        Args:
            key_id: the owner; None means all.
            limit: size of the page, 1 to 100.
            after: id of the last job of the page before.
            status: only jobs of this status.

        Raises:
            SumiError: there is no such status, or no job `after`.
        """
        if status is not None and status not in STATUSES:
            raise SumiError(f"unknown status {status[:20]!r}: choose one of {', '.join(STATUSES)}")
        where = () if status is None else (Job.status == status,)
        with self._database.read() as session:
            return page(session, Job, key_id, *where, limit=limit, after=after)

    def live_progress(self, job_id: str) -> Any:
        """Return the latest step that the worker of a running job sent; None where there is none."""
        with self._database.read() as session:
            return session.scalar(select(Job.live_progress).where(Job.id == job_id, Job.status == RUNNING))

    def pictures(self, key_id: str, job_id: str) -> list[PictureRow]:
        """Return a job's pictures, in order."""
        query = (
            select(PictureRow)
            .where(PictureRow.job_id == job_id, PictureRow.key_id == key_id)
            .order_by(PictureRow.position)
        )
        with self._database.read() as session:
            return list(session.scalars(query))

    def cancel(self, key_id: str | None, job_id: str) -> Job | None:
        """Cancel a queued or running job, of any owner for None, and return it; one that has ended stays as it is."""
        with self._database.write() as session:
            job = session.scalar(select(Job).where(Job.id == job_id, *_of_key(key_id)).with_for_update())
            if job is not None and job.status not in FINAL:
                _end(job, CANCELED, self.clock())
        return job

    def counts(self, key_id: str | None = None) -> dict[str, int]:
        """Return the number of jobs by status, of one key or of all."""
        query = select(Job.status, func.count()).group_by(Job.status)
        with self._database.read() as session:
            found = session.execute(query if key_id is None else query.where(Job.key_id == key_id)).all()
        return dict.fromkeys(STATUSES, 0) | {status: count for status, count in found}

    def waiting(self) -> dict[str, int]:
        """Return the number of queued jobs by key."""
        query = select(Job.key_id, func.count()).where(Job.status == QUEUED).group_by(Job.key_id)
        with self._database.read() as session:
            return {key_id: count for key_id, count in session.execute(query)}

    # For workers. ------------------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """Start a worker; close it once it claims no more."""
        return Worker(self._workers)

    def claim(
        self, worker: Worker, kinds: Collection[str] | None = None, *, only: PreemptionFilter | None = None
    ) -> Job | None:
        """Claim the next job.

        The highest priority is next; then the key with the least virtual time; then the key with the fewest running
        jobs.
        Of one key, jobs that have failed are last, and among the others the oldest is first.

        Args:
            worker: who claims.
            kinds: operations to consider; None means all.
            only: claim only a job that this filter allows.

        Returns:
            The claim, for `succeed`, `fail` or `release`; None where no job is waiting. Where its `alone` is set, no
                other
            job may run in this process until it has ended or `join` was called.
        """
        waiting = select(Job).where(Job.status == QUEUED)
        if kinds is not None:
            waiting = waiting.where(Job.kind.in_(kinds))
        if only is not None:
            waiting = waiting.where(only.allows)
        with self._database.read() as session:  # mostly there is none, and reading takes no writer's lock
            if session.scalar(waiting.with_only_columns(Job.number).limit(1)) is None:
                return None
        first = order_fairly(waiting).limit(1)
        with self._database.write() as session:
            job: Job | None = session.scalar(first.with_for_update(of=Job, skip_locked=True))
            if job is None:
                return None
            now = self.clock()
            job.status, job.worker, job.lease_until = RUNNING, worker.id, now + LEASE_S
            job.attempts += 1
            job.started_at, job.progress, job.error = now, 0.0, None
            job.alone = job.suspicions + job.failures > 0
            charge_key(session, job, 1)
        return job

    def join(self, claim: Job) -> None:
        """Let others run beside a job that was claimed to run alone."""
        with self._database.write() as session:
            if (job := _lock_claimed(session, claim)) is not None:
                job.alone = False

    def heartbeat(
        self, worker: Worker, progress: Mapping[str, float], live_progress: Mapping[str, Any] | None = None
    ) -> frozenset[str]:
        """Renew the leases of jobs, and note their progress.

        Args:
            worker: who holds them.
            progress: share of each job that is done, in [0, 1]. The lease of a job that is not named lapses.
            live_progress: the latest step of some of them, as JSON values, for followers at other servers.

        Returns:
            The ids of the jobs that the worker still holds. The others were canceled or taken over: stop drawing them.
        """
        held = set()
        with self._database.write() as session:
            named = (Job.status == RUNNING, Job.worker == worker.id, Job.id.in_(list(progress)))
            for job in session.scalars(select(Job).where(*named).with_for_update()):
                job.lease_until = self.clock() + LEASE_S
                job.progress = min(max(progress[job.id], 0.0), 1.0)
                if live_progress and job.id in live_progress:
                    job.live_progress = live_progress[job.id]
                held.add(job.id)
        return frozenset(held)

    def succeed(self, claim: Job, pictures: Sequence[NewPicture]) -> bool:
        """End a job with its pictures; return False, and store nothing, where the claim no longer holds.

        A picture that was deleted after an earlier end of the job is not stored again.
        """
        deleted = frozenset(claim.removed or ())
        kept = [(position, picture) for position, picture in enumerate(pictures) if position not in deleted]
        digests = [hashlib.sha256(picture.data).hexdigest() for _, picture in kept]
        with self._database.write() as session:  # before the files, so that a crash leaves no unknown file
            note_files(session, digests, self.clock())
        for _, picture in kept:
            self._files.put(picture.data)
        with self._database.write() as session:
            job = _lock_claimed(session, claim)
            if job is None:
                return False
            now = self.clock()
            _end(job, SUCCEEDED, now)
            job.progress, job.suspicions = 1.0, 0
            session.flush()
            session.add_all(
                make_picture_row(job, *pair, digest, now) for pair, digest in zip(kept, digests, strict=True)
            )
        return True

    def fail(self, claim: Job, code: str, message: str) -> bool:
        """End a job with an error; return False where the claim no longer holds."""
        with self._database.write() as session:
            job = _lock_claimed(session, claim)
            if job is not None:
                _end(job, FAILED, self.clock(), {"code": code, "message": message})
        return job is not None

    def release(self, worker: Worker, job_ids: Collection[str] | None = None) -> int:
        """Give back all jobs of a worker, or only some, as if never claimed; return how many."""
        held = select(Job).where(Job.status == RUNNING, Job.worker == worker.id)
        if job_ids is not None:
            held = held.where(Job.id.in_(list(job_ids)))
        with self._database.write() as session:
            released = session.scalars(held.with_for_update()).all()
            for job in released:
                requeue(job)
                job.attempts -= 1
                charge_key(session, job, -1)
        return len(released)

    def recover(self) -> list[Job]:
        """Take the jobs of dead workers back: queued again, or failed after three failures alone."""
        dead = defaultdict[str, list[Job]](list)
        with self._database.write() as session:
            running = select(Job).where(Job.status == RUNNING).with_for_update(skip_locked=True)
            for job in session.scalars(running):
                lapsed = job.lease_until is None or job.lease_until < self.clock()
                if lapsed or is_gone(self._workers, job.worker or ""):
                    dead[job.worker or ""].append(job)
            for worker, jobs in dead.items():
                self._settle_jobs(jobs, was_stopped(self._workers, worker))
        return [job for jobs in dead.values() for job in jobs]

    def _settle_jobs(self, jobs: Sequence[Job], stopped: bool) -> None:
        """Queue the jobs of one dead worker again: a job that ran alone has failed; else all become suspects."""
        failed = [] if stopped else [job for job in jobs if job.alone] or (jobs if len(jobs) == 1 else [])
        reason = "the server was stopped during the job" if stopped else "the server crashed during the job"
        for job in jobs:
            if job in failed:
                retry(job, "interrupted", reason, self.clock())
            else:
                job.suspicions += not (stopped or failed)
                requeue(job)
                job.error = {"code": "interrupted", "message": f"{reason}; it is queued again"}


def requeue(job: Job) -> None:
    """Put a job back to its old place in the queue."""
    job.status, job.worker, job.lease_until, job.live_progress = QUEUED, None, None, None
    job.started_at, job.finished_at, job.progress, job.alone = None, None, 0.0, False


def retry(job: Job, code: str, message: str, now: float) -> None:
    """Count a failure of a job and queue it again with its error, or end it after too many."""
    job.failures += 1
    error = {"code": code, "message": message}
    if job.failures < MOST_ATTEMPTS:
        requeue(job)
        job.error = error | {"message": f"{message}; it is queued again"}
    else:
        _end(job, FAILED, now, error | {"message": f"{message}, {job.failures} times; it is not tried again"})


def _end(job: Job, status: str, now: float, error: dict[str, Any] | None = None) -> None:
    job.status, job.error, job.finished_at, job.alone = status, error, now, False
    job.worker = job.lease_until = job.live_progress = None


def _of_key(key_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that a job belongs to a key; none for None."""
    return () if key_id is None else (Job.key_id == key_id,)


def _lock_claimed(session: Session, claim: Job) -> Job | None:
    """Return the claimed job, locked; None where the claim no longer holds."""
    same = (Job.status == RUNNING, Job.worker == claim.worker, Job.attempts == claim.attempts)
    return session.scalar(select(Job).where(Job.id == claim.id, *same).with_for_update())


def _check_idempotency_key(value: str | None) -> None:
    if value is not None and not (1 <= len(value) <= 255 and value.isascii() and value.isprintable()):
        raise SumiError("an Idempotency-Key must be 1 to 255 printable ASCII characters")


def _find_earlier(session: Session, key_id: str, idempotency_key: str | None, digest: str) -> Job | None:
    if idempotency_key is None:
        return None
    same = (Job.key_id == key_id, Job.idempotency_key == idempotency_key)
    job = session.scalar(select(Job).where(*same))
    if job is not None and job.request_sha256 != digest:
        raise ConflictError("this Idempotency-Key was used for another request; a new request needs a new one")
    return job


def _check_concurrent(session: Session, key: Key) -> None:
    if key.concurrent_jobs is None:
        return
    unfinished = select(func.count()).where(Job.key_id == key.id, Job.status.in_((QUEUED, RUNNING)))
    if session.scalars(unfinished).one() >= key.concurrent_jobs:
        jobs = f"{key.concurrent_jobs} job{'s' * (key.concurrent_jobs > 1)}"
        raise OverLimitError(
            f"the key may have {jobs} queued or running at a time; wait for one to end, or cancel it", 1.0
        )
