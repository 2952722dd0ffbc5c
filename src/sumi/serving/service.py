"""Between the store and the engine: a job is stored, claimed, drawn, and stored again with its pictures.

    submit -> store -> claim -> engine -> files -> one transaction: the job's end and its pictures

Clients wait for a job in the store, never for the engine. So a request that waits for its answer, one that streams and
one that is fetched tomorrow are the same thing. Everything here runs in one event loop; the store runs in threads.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

from PIL import Image

from sumi.errors import SumiError
from sumi.pipelines import Artist
from sumi.serving.embeddings import Embeddings
from sumi.serving.engine import MAX_RETRY_S, Engine, OverloadError
from sumi.serving.errors import ApiError, InvalidJobError
from sumi.serving.job_events import JobEnded, JobEvent, JobProgress
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, StepDone, StoppedError
from sumi.serving.job_spec import JobSpec, choose_search_prompt, choose_seed, encode, read_ingredients
from sumi.serving.moderation import HeldBackError, Moderation
from sumi.serving.preemption import ActiveJob, choose_eviction, compute_probation_s, make_preemption_filter
from sumi.serving.scheduler import SchedulerLimits
from sumi.store import (
    FINAL,
    LOCAL,
    Job,
    Key,
    LostFileError,
    NewPicture,
    PictureRow,
    PreemptionFilter,
    Store,
    UnavailableError,
)
from sumi.store.schema import QUEUED, RUNNING, check_plain_text
from sumi.trust.fingerprint import make_fingerprint

__all__ = ["Service"]

HEARTBEAT_S: Final = 1.0
"""How often the service renews its leases and reads what other servers changed."""
RECOVER_S: Final = 5.0
REMOTE_POLL_S: Final = 0.5
"""How often a follower reads the progress of a job that another server draws."""
MAX_UNREAD_EVENTS: Final = 64
SWEEP_S: Final = 600.0
STORE_RETRY_S: Final = 900.0
"""How long finished pictures wait for a database that is locked or away."""
log = logging.getLogger("sumi.serving")


class Service:
    """Draws the jobs of a store with one model. Call `start` and `close` in the event loop that uses it.

    Attributes:
        engine: the engine that draws.
        embeddings: CLIP's embeddings, for search.
        moderation: the policy.
        accepting: whether new jobs are accepted.
        closed: whether the service has closed.
    """

    def __init__(self, sumi: Artist, store: Store, limits: SchedulerLimits, max_queued: int) -> None:
        self.sumi, self.store, self.max_queued = sumi, store, max_queued
        in_memory = limits.running + limits.paused
        self.engine = Engine(sumi, replace(limits, waiting=max(limits.waiting, in_memory)))
        self.embeddings, self.moderation = Embeddings(sumi), Moderation(sumi, store)
        self.accepting = self.closed = False
        self._waiting: Counter[str] = Counter()  # by key, since the last heartbeat
        self._submitting: Counter[str] = Counter()  # by key, on their way into the store
        self._stages = sumi.stage_names
        self._active_jobs: dict[str, ActiveJob] = {}
        self._followers: defaultdict[str, set[asyncio.Queue[JobProgress | None]]] = defaultdict(set)
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancellations: set[asyncio.Task[Job | None]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Reconcile the store after an earlier server, and start to draw."""
        report = await asyncio.to_thread(self.store.reconcile)
        log.info("reconciled: %s", report)
        self._worker = self.store.jobs.worker()
        self.accepting = True
        loops = {
            self._claim_all: HEARTBEAT_S, self._heartbeat: HEARTBEAT_S, self._recover: RECOVER_S, self._sweep: SWEEP_S,
        }  # fmt: skip
        self._background = [asyncio.create_task(self._repeat(step, every_s)) for step, every_s in loops.items()]

    @property
    def idle(self) -> bool:
        """Whether this server draws nothing."""
        return not self._active_jobs

    def drain(self) -> None:
        """Accept no new jobs, and finish the active ones; queued jobs are left to other servers.

        From now on an operator ends this process, so its death makes no job a suspect.
        """
        self.accepting = False
        self._worker.stop()

    async def close(self) -> None:
        """Stop after the current step, and give unfinished jobs back to the store."""
        if self.closed:
            return
        self.accepting, self.closed = False, True
        self._worker.stop()
        for job_id in list(self._followers):
            self._publish(job_id, None)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.to_thread(self.engine.close)
        await asyncio.gather(*self._tasks, *self._cancellations, return_exceptions=True)
        await asyncio.to_thread(self.store.jobs.release, self._worker)
        self._worker.close()

    # For clients. ------------------------------------------------------------------------------------------------

    async def submit(self, key: Key, spec: JobSpec, *, priority: int = 0, idempotency_key: str | None = None) -> Job:
        """Check a job against the model and store it. It is durable when this returns.

        Raises:
            SumiError: the model cannot draw it.
            OverloadError: too many jobs wait already.
            ApiError: this key's jobs fill its share of the queue.
            StoppedError: the server is stopping.
            Also what `Jobs.submit` raises.
        """
        if not self.accepting:
            raise StoppedError("the server is stopping")
        self._check_room(key)
        for name, value in vars(spec.task).items():
            if isinstance(value, str):
                check_plain_text(value, f"the {name}")
        spec = spec.seeded(choose_seed(key.id, idempotency_key))
        self._submitting[key.id] += 1
        try:
            await asyncio.to_thread(self._check, spec)
            if spec.files:
                await asyncio.to_thread(self._store_inputs, key, spec, idempotency_key)
            job = await asyncio.to_thread(
                self.store.jobs.submit, key.id, spec.kind, spec.to_json(), priority=priority,
                idempotency_key=idempotency_key, pixel_steps=spec.pixel_steps(self.sumi), inputs=spec.inputs,
            )  # fmt: skip
        finally:
            self._submitting -= Counter((key.id,))
        self._waiting[key.id] += job.status == QUEUED
        self._wake.set()
        return job

    async def cancel(self, key_id: str | None, job_id: str) -> Job | None:
        """Cancel an unfinished job of a key, or of any key for None; return the job as it now is."""
        job = await asyncio.to_thread(self.store.jobs.cancel, key_id, job_id)
        if job is not None and job.status == "canceled":
            if active := self._active_jobs.get(job_id):
                active.drop()
            self._publish(job_id, None)
        return job

    async def watch(self, key_id: str, job_id: str) -> AsyncIterator[JobEvent]:
        """Follow a job to its end, at whichever server it is drawn.

        A follower who falls behind loses the oldest steps. Of a job that another server draws, one step is reported now
        and then. Ends with `JobEnded`, or at once where there is no such job.
        """
        queue: asyncio.Queue[JobProgress | None] = asyncio.Queue(MAX_UNREAD_EVENTS)
        last: Any = None
        self._followers[job_id].add(queue)
        try:
            while (job := await asyncio.to_thread(self.store.jobs.get, key_id, job_id)) is not None:
                if job.status in FINAL:
                    while not queue.empty():
                        if (progress := queue.get_nowait()) is not None:
                            yield progress
                    yield JobEnded(job)
                    return
                if self.closed:
                    raise StoppedError("the server is stopping")
                is_remote = job.status == RUNNING and job_id not in self._active_jobs
                if is_remote:
                    live = await asyncio.to_thread(self.store.jobs.live_progress, job_id)
                    if live not in (None, last):
                        last = live
                        yield JobProgress.from_json(live)
                with suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(REMOTE_POLL_S if is_remote else HEARTBEAT_S):
                            progress = await queue.get()
                        if progress is None:
                            break
                        yield progress
        finally:
            self._followers[job_id].discard(queue)
            if not self._followers[job_id]:
                del self._followers[job_id]

    def abandon(self, job: Job) -> None:
        """Cancel a job whose client has gone, in the background."""
        task = asyncio.create_task(self.cancel(job.key_id, job.id))
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)

    async def pictures(self, job: Job) -> list[tuple[PictureRow, bytes]]:
        """Return the pictures of a job in order, each as its row and the bytes of its file."""
        rows = await asyncio.to_thread(self.store.jobs.pictures, job.key_id, job.id)
        return [(row, await self.read(row)) for row in rows]

    async def read(self, row: PictureRow) -> bytes:
        """Return the bytes of a picture's file.

        Raises:
            ApiError: the file is missing or damaged; its job is queued again, and the client may retry.
        """
        try:
            return await asyncio.to_thread(self.store.gallery.read, row)
        except LostFileError:
            raise await self.queue_redraw(row) from None

    async def queue_redraw(self, row: PictureRow) -> ApiError:
        """Queue the job of a lost picture again, and return the error for its client."""
        log.error("a file of %s is missing or damaged; the job is queued again", row.job_id)
        if await asyncio.to_thread(self.store.redraw, row):
            self._wake.set()
        return ApiError(503, "the picture's file was damaged; it is being drawn again", retry_after_s=5)

    # Drawing. ----------------------------------------------------------------------------------------------------

    def _check(self, spec: JobSpec) -> None:
        self.sumi.work(spec.task, *self._images(spec)).close()

    def _images(self, spec: JobSpec) -> list[Image.Image]:
        files = spec.files[: len(spec.images)] or [self.store.files.read(digest) for digest in spec.images]
        return [Image.open(io.BytesIO(file), formats=["PNG"]) for file in files]

    def _store_inputs(self, key: Key, spec: JobSpec, idempotency_key: str | None) -> None:
        """Store the pictures that a job starts from, unless the store would refuse the job."""
        self.store.jobs.check(
            key.id, spec.kind, spec.to_json(), idempotency_key=idempotency_key,
            pixel_steps=spec.pixel_steps(self.sumi),
        )  # fmt: skip
        for file in spec.files:
            self.store.keep(file)

    async def _claim_all(self) -> None:
        """Claim as many jobs as may run together."""
        self._wake.clear()
        while self.accepting and not any(active.claim.alone for active in self._active_jobs.values()):
            job = await asyncio.to_thread(self.store.jobs.claim, self._worker, only=self._preemption_filter())
            if job is None:
                break
            self._waiting[job.key_id] -= 1  # below 0 where the claim comes before `submit` has counted the job
            if (evicted := choose_eviction(self._active_jobs.values(), self.engine.limits)) is not None:
                evicted.is_evicted = True
                evicted.drop()
            active = self._active_jobs[job.id] = ActiveJob(job)
            if job.alone:
                active.alone_until = asyncio.get_running_loop().time() + compute_probation_s(job)
            task = asyncio.create_task(self._draw(active))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _preemption_filter(self) -> PreemptionFilter | None:
        return make_preemption_filter(self._active_jobs.values(), self._waiting, self.engine.limits.running)

    async def _draw(self, active: ActiveJob) -> None:
        """Draw one job to its end: success, failure, cancellation or return to the store."""
        claim, jobs = active.claim, self.store.jobs
        try:
            if (result := await self._run_in_engine(active)) is not None:
                await asyncio.to_thread(self._check_output, claim, result[1])
                await self._store_with_retry(claim, *result)
            elif active.is_evicted:
                await asyncio.to_thread(jobs.release, self._worker, [claim.id])
        except StoppedError:
            pass  # `close` gives the job back
        except InvalidJobError as error:
            code = error.code if isinstance(error, HeldBackError) else "invalid_request"
            await asyncio.to_thread(jobs.fail, claim, code, str(error))
        except Exception:
            log.exception("the job %s failed", claim.id)
            await asyncio.to_thread(jobs.fail, claim, "server_error", "an internal error; the server's log has it")
        finally:
            self._active_jobs.pop(claim.id, None)
            self._publish(claim.id, None)
            self._wake.set()

    async def _run_in_engine(self, active: ActiveJob) -> tuple[JobSpec, list[FinishedPicture]] | None:
        """Return a job's spec and pictures, or None where it was canceled.

        Raises:
            InvalidJobError: the model cannot draw what the job asks for.
        """
        claim, pictures = active.claim, list[FinishedPicture]()
        try:
            spec = JobSpec.from_json(claim.kind, claim.request)
            active.handle = await asyncio.to_thread(self._to_engine, claim, spec)
            if active.is_dropped:
                active.handle.cancel()
            async for report in active.handle:
                if isinstance(report, FinishedPicture):
                    pictures.append(report)
                elif isinstance(report, StepDone):
                    self._publish(claim.id, active.record_step(report, self._stages))
                else:
                    assert isinstance(report, JobStarted)
        except (StoppedError, OverloadError, LostFileError):
            raise
        except SumiError as error:
            raise InvalidJobError(str(error)) from None
        return (spec, pictures) if active.handle.status == "succeeded" else None

    async def _store_with_retry(self, claim: Job, spec: JobSpec, pictures: Sequence[FinishedPicture]) -> None:
        """Store a job's pictures; where the database is locked or away, wait for it rather than lose the work."""
        give_up = asyncio.get_running_loop().time() + STORE_RETRY_S
        while True:
            try:
                return await asyncio.to_thread(self._store_pictures, claim, spec, pictures)
            except UnavailableError as error:
                if self.closed or asyncio.get_running_loop().time() > give_up:
                    raise
                log.warning("%s; the pictures of %s wait for it", error, claim.id)
                await asyncio.sleep(HEARTBEAT_S)

    def _to_engine(self, claim: Job, spec: JobSpec) -> JobHandle:
        ingredients = read_ingredients(spec, self.store.files.read)
        rights = self.sumi.with_adapters(spec.task.adapters).model.rights
        return self.engine.submit(
            spec.task, *self._images(spec), key=claim.key_id, priority=claim.priority, previews=spec.previews,
            alone=claim.alone,
            encode=partial(encode, output=spec.output, rights=rights, ingredients=ingredients),
        )  # fmt: skip

    def _check_output(self, claim: Job, pictures: Sequence[FinishedPicture]) -> None:
        try:
            self.moderation.check_pictures(claim.key_id, "output", [finished.picture.image for finished in pictures])
        except ApiError as error:
            raise HeldBackError(error) from None

    def _store_pictures(self, claim: Job, spec: JobSpec, pictures: Sequence[FinishedPicture]) -> None:
        embeddings = self.embeddings.pictures([finished.picture for finished in pictures])
        rows = [
            NewPicture(
                finished.data, spec.output.media_type, *finished.picture.image.size, choose_search_prompt(spec),
                finished.picture.recipe.to_json(), embedding, self.embeddings.model,
                make_fingerprint(finished.picture.image),
            )
            for finished, embedding in zip(pictures, embeddings, strict=True)
        ]  # fmt: skip
        self.store.jobs.succeed(claim, rows)

    def _publish(self, job_id: str, progress: JobProgress | None) -> None:
        """Send an event to a job's followers; None makes them read the job again."""
        for queue in self._followers.get(job_id, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(progress)

    # In the background. ------------------------------------------------------------------------------------------

    async def _repeat(self, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await step()
            except UnavailableError as error:
                log.warning("%s; trying again", error)
                await asyncio.sleep(HEARTBEAT_S)
            except Exception:
                log.exception("%s failed; trying again", step)
                await asyncio.sleep(HEARTBEAT_S)
            if step == self._claim_all:
                # Before Python 3.12 `wait_for` swallows a cancellation that arrives together with its result.
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await self._wake.wait()
            else:
                await asyncio.sleep(every_s)

    async def _heartbeat(self) -> None:
        """Renew the leases of the active jobs, send their progress, and drop those that others canceled."""
        active_jobs = dict(self._active_jobs)
        await self._end_probation(active_jobs.values())
        if active_jobs:
            progress = {job_id: active.progress for job_id, active in active_jobs.items()}
            unsent = self._take_unsent(active_jobs)
            still_ours = await asyncio.to_thread(self._send_heartbeat, progress, unsent)
            for job_id in active_jobs.keys() - still_ours:
                active_jobs[job_id].drop()
        if active_jobs or any(self._waiting.values()):
            self._waiting = Counter(await asyncio.to_thread(self.store.jobs.waiting))

    async def _end_probation(self, active_jobs: Collection[ActiveJob]) -> None:
        """Let others run beside a suspect that has run alone for long enough."""
        for active in active_jobs:
            if active.claim.alone and asyncio.get_running_loop().time() > active.alone_until:
                await asyncio.to_thread(self.store.jobs.join, active.claim)
                active.claim.alone = False
                if active.handle is not None:
                    active.handle.alone = False
                self._wake.set()

    def _take_unsent(self, active_jobs: Mapping[str, ActiveJob]) -> dict[str, JobProgress]:
        """Take the progress to send, by job. A SQLite store has one server, so nobody needs it there."""
        unsent = {job_id: active.unsent for job_id, active in active_jobs.items() if active.unsent is not None}
        for active in active_jobs.values():
            active.unsent = None
        return {} if self.store.database.is_sqlite else unsent

    def _send_heartbeat(self, progress: Mapping[str, float], unsent: Mapping[str, JobProgress]) -> frozenset[str]:
        live = {job_id: event.to_json() for job_id, event in unsent.items()}
        return self.store.jobs.heartbeat(self._worker, progress, live)

    async def _sweep(self) -> None:
        await asyncio.to_thread(self.store.sweep)

    async def _recover(self) -> None:
        if await asyncio.to_thread(self.store.jobs.recover):
            self._wake.set()

    def _check_room(self, key: Key) -> None:
        """Raise where one more job of a key may not wait.

        A key may have as many waiting jobs as places are left, so some places always stay free (Choudhury and Hahne
        1998, dynamic queue length thresholds for shared-memory packet switches). The local key may use them all.
        """
        waiting = self._waiting + self._submitting
        left, own = self.max_queued - waiting.total(), waiting[key.id]
        if left <= 0:
            raise OverloadError(waiting.total(), self._retry_after_s(waiting.total()))
        if key.id != LOCAL and own >= left:
            raise ApiError(
                429, f"{own} jobs of this key are waiting, its share while {left} places are left for others",
                code="queue_share_exceeded", retry_after_s=self._retry_after_s(own),
            )  # fmt: skip

    def _retry_after_s(self, waiting: int) -> int:
        return max(1, min(MAX_RETRY_S, round(waiting * self.engine.metrics().request_s)))
