"""Between the store and the engine: jobs are kept first, then drawn, then kept with their pictures.

    submit -> store -> claim -> engine -> files -> one transaction: the job's end and its pictures

Whoever asks waits for a job and not for the engine, so a request that waits for its answer, one that is watched, and
one that is fetched tomorrow are the same thing. All of it runs in one event loop; the store is asked in threads.
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
from sumi.serving.engine import LONGEST_RETRY_S, Engine, OverloadError
from sumi.serving.errors import ApiError, RefusedError
from sumi.serving.job_events import JobEnded, JobProgress, News
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, StepDone, StoppedError
from sumi.serving.job_spec import JobSpec, encode, prompt_of, seed_for
from sumi.serving.preemption import Drawing, beyond, probation_s, surplus
from sumi.serving.scheduler import SchedulerLimits
from sumi.store import FINAL, LOCAL, Beyond, Job, Key, LostFileError, Store, UnavailableError
from sumi.store import Drawn as Kept
from sumi.store import Picture as Row
from sumi.store.schema import QUEUED, RUNNING, plain_text

__all__ = ["Service"]

BEAT_S: Final = 1.0
"""How often leases are renewed and the database is asked what others did."""
RECOVER_S: Final = 5.0
ELSEWHERE_S: Final = 0.5
"""How often a job that another server draws is looked at, by whoever watches it here."""
MOST_UNHEARD: Final = 64
SWEEP_S: Final = 600.0
KEPT_FOR_S: Final = 900.0
"""How long a finished picture waits for a database that is locked or away."""
log = logging.getLogger("sumi.serving")


class Service:
    """The jobs of a store, drawn by one model; `begin` and `close` it in the event loop that uses it."""

    def __init__(self, sumi: Artist, store: Store, limits: SchedulerLimits, most_queued: int) -> None:
        self.sumi, self.store, self.most_queued = sumi, store, most_queued
        held = limits.running + limits.paused
        self.engine = Engine(sumi, replace(limits, waiting=max(limits.waiting, held)))
        self.embeddings = Embeddings(sumi)
        self.open = self.ended = False
        self._waiting: Counter[str] = Counter()  # by key, as of the last beat and what was kept since
        self._coming: Counter[str] = Counter()  # likewise, on its way into the store
        self._stages = sumi.stage_names
        self._drawings: dict[str, Drawing] = {}
        self._listeners: defaultdict[str, set[asyncio.Queue[JobProgress | None]]] = defaultdict(set)
        self._tasks: set[asyncio.Task[None]] = set()
        self._errands: set[asyncio.Task[Job | None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()

    async def begin(self) -> None:
        """Mend what an earlier server left, and start to draw."""
        mended = await asyncio.to_thread(self.store.reconcile)
        log.info("reconciled: %s", mended)
        self._worker = self.store.jobs.worker()
        self.open = True
        loops = {self._claim_all: BEAT_S, self._beat: BEAT_S, self._recover: RECOVER_S, self._sweep: SWEEP_S}
        self._loops = [asyncio.create_task(self._forever(step, every_s)) for step, every_s in loops.items()]

    @property
    def idle(self) -> bool:
        """Whether nothing is being drawn here."""
        return not self._drawings

    def drain(self) -> None:
        """Take nothing new, and finish what is being drawn; what waits is left to another.

        From now on the death of this process is the operator's doing, and no job is suspected of it.
        """
        self.open = False
        self._worker.stop()

    async def close(self) -> None:
        """Stop after the step that is being taken, and give back what is unfinished, to be drawn by another."""
        if self.ended:
            return
        self.open, self.ended = False, True
        self._worker.stop()
        for job_id in list(self._listeners):
            self._tell(job_id, None)
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await asyncio.to_thread(self.engine.close)
        await asyncio.gather(*self._tasks, *self._errands, return_exceptions=True)
        await asyncio.to_thread(self.store.jobs.release, self._worker)
        self._worker.close()

    # For whoever asks. -------------------------------------------------------------------------------------------

    async def submit(self, key: Key, order: JobSpec, *, priority: int = 0, idempotency_key: str | None = None) -> Job:
        """Check a job against the model and keep it; it is acknowledged when this returns.

        Raises SumiError for what cannot be drawn, OverloadError where too much waits already, and what
        `Jobs.submit` raises.
        """
        if not self.open:
            raise StoppedError("the server is stopping")
        self._check_room(key)
        for name in ("prompt", "negative", "before", "after"):
            plain_text(getattr(order.task, name, ""), f"the {name}")
        order = order.seeded(seed_for(key.id, idempotency_key))
        self._coming[key.id] += 1
        try:
            await asyncio.to_thread(self._check, order)
            if order.files:
                await asyncio.to_thread(self._keep_files, key, order, idempotency_key)
            job = await asyncio.to_thread(
                self.store.jobs.submit, key.id, order.kind, order.to_json(), priority=priority,
                idempotency_key=idempotency_key, pixel_steps=order.pixel_steps(self.sumi), inputs=order.images,
            )  # fmt: skip
        finally:
            self._coming -= Counter((key.id,))
        self._waiting[key.id] += job.status == QUEUED
        self._wake.set()
        return job

    async def cancel(self, key_id: str | None, job_id: str) -> Job | None:
        """End a job of this key, or of any, if it is not over, and return it as it now is."""
        job = await asyncio.to_thread(self.store.jobs.cancel, key_id, job_id)
        if job is not None and job.status == "canceled":
            if drawing := self._drawings.get(job_id):
                drawing.drop()
            self._tell(job_id, None)
        return job

    async def watch(self, key_id: str, job_id: str) -> AsyncIterator[News]:
        """Follow a job to its end, wherever it is drawn; of one that is drawn elsewhere, a step is told now and then.

        A listener who falls behind misses the oldest steps. Ends with `Over`, or at once where there is no such job.
        """
        heard: asyncio.Queue[JobProgress | None] = asyncio.Queue(MOST_UNHEARD)
        seen: Any = None
        self._listeners[job_id].add(heard)
        try:
            while (job := await asyncio.to_thread(self.store.jobs.get, key_id, job_id)) is not None:
                if job.status in FINAL:
                    while not heard.empty():
                        if (moved := heard.get_nowait()) is not None:
                            yield moved
                    yield JobEnded(job)
                    return
                if self.ended:
                    raise StoppedError("the server is stopping")
                elsewhere = job.status == RUNNING and job_id not in self._drawings
                if elsewhere and (look := await asyncio.to_thread(self.store.jobs.look, job_id)) not in (None, seen):
                    seen = look
                    yield JobProgress.from_json(look)
                with suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(ELSEWHERE_S if elsewhere else BEAT_S):
                            moved = await heard.get()
                        if moved is None:
                            break
                        yield moved
        finally:
            self._listeners[job_id].discard(heard)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    def abandon(self, job: Job) -> None:
        """Cancel a job whose client has gone, without keeping anybody waiting."""
        task = asyncio.create_task(self.cancel(job.key_id, job.id))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def pictures(self, job: Job) -> list[tuple[Row, bytes]]:
        """What a job drew, in order: each row of the gallery and the bytes of its file."""
        rows = await asyncio.to_thread(self.store.jobs.pictures, job.key_id, job.id)
        return [(row, await self.read(row)) for row in rows]

    async def read(self, row: Row) -> bytes:
        """Return the file of a picture; one that is lost or damaged is drawn again, and ApiError asks to come back."""
        try:
            return await asyncio.to_thread(self.store.gallery.read, row)
        except LostFileError:
            raise await self.redrawn(row) from None

    async def redrawn(self, row: Row) -> ApiError:
        """Queue the job of a lost picture again, and return what its client is told."""
        log.error("a file of %s is missing or damaged: it is drawn again", row.job_id)
        if await asyncio.to_thread(self.store.redraw, row):
            self._wake.set()
        return ApiError(503, "the picture's file was damaged; it is being drawn again", retry_after_s=5)

    # Whoever draws. ----------------------------------------------------------------------------------------------

    def _check(self, order: JobSpec) -> None:
        self.sumi.work(order.task, *self._images(order)).close()

    def _images(self, order: JobSpec) -> list[Image.Image]:
        files = order.files or [self.store.files.read(digest) for digest in order.images]
        return [Image.open(io.BytesIO(file), formats=["PNG"]) for file in files]

    def _keep_files(self, key: Key, order: JobSpec, idempotency_key: str | None) -> None:
        """Put an order's pictures into the store, unless the store would refuse the job now."""
        self.store.jobs.check(
            key.id, order.kind, order.to_json(), idempotency_key=idempotency_key,
            pixel_steps=order.pixel_steps(self.sumi),
        )  # fmt: skip
        for file in order.files:
            self.store.keep(file)

    async def _claim_all(self) -> None:
        """Take what waits, as much as may be drawn together; then sleep until somebody says that there is more."""
        self._wake.clear()
        while self.open and not any(drawing.claim.alone for drawing in self._drawings.values()):
            job = await asyncio.to_thread(self.store.jobs.claim, self._worker, beyond=self._beyond())
            if job is None:
                break
            self._waiting[job.key_id] -= 1  # below 0 where it is claimed before whoever brought it hears of it
            if (last := surplus(self._drawings.values(), self.engine.limits)) is not None:
                last.preempted = True
                last.drop()
            drawing = self._drawings[job.id] = Drawing(job)
            if job.alone:
                drawing.alone_until = asyncio.get_running_loop().time() + probation_s(job)
            task = asyncio.create_task(self._draw(drawing))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _beyond(self) -> Beyond | None:
        return beyond(self._drawings.values(), self._waiting, self.engine.limits.running)

    async def _draw(self, drawing: Drawing) -> None:
        """Draw one job to its end, whatever that is."""
        claim, jobs = drawing.claim, self.store.jobs
        try:
            if (drawn := await self._drawn(drawing)) is not None:
                await self._kept(claim, *drawn)
            elif drawing.preempted:
                await asyncio.to_thread(jobs.release, self._worker, [claim.id])
        except StoppedError:
            pass  # it is given back
        except RefusedError as error:
            await asyncio.to_thread(jobs.fail, claim, "invalid_request", str(error))
        except Exception:
            log.exception("the job %s failed", claim.id)
            await asyncio.to_thread(jobs.fail, claim, "server_error", "a fault of the server, written in its log")
        finally:
            self._drawings.pop(claim.id, None)
            self._tell(claim.id, None)
            self._wake.set()

    async def _drawn(self, drawing: Drawing) -> tuple[JobSpec, list[FinishedPicture]] | None:
        """Have a job drawn; None where it was called off, RefusedError where it cannot be drawn as it was asked for."""
        claim, files = drawing.claim, list[FinishedPicture]()
        try:
            order = JobSpec.from_json(claim.kind, claim.request)
            drawing.ticket = await asyncio.to_thread(self._to_engine, claim, order)
            if drawing.dropped:
                drawing.ticket.cancel()
            async for report in drawing.ticket:
                if isinstance(report, FinishedPicture):
                    files.append(report)
                elif isinstance(report, StepDone):
                    self._tell(claim.id, drawing.moved(report, self._stages))
                else:
                    assert isinstance(report, JobStarted)
        except (StoppedError, OverloadError, LostFileError):
            raise
        except SumiError as error:
            raise RefusedError(str(error)) from None
        return (order, files) if drawing.ticket.status == "succeeded" else None

    async def _kept(self, claim: Job, order: JobSpec, files: Sequence[FinishedPicture]) -> None:
        """Keep what was drawn; while the database is locked or away, wait for it rather than lose the work."""
        give_up = asyncio.get_running_loop().time() + KEPT_FOR_S
        while True:
            try:
                return await asyncio.to_thread(self._keep, claim, order, files)
            except UnavailableError as error:
                if self.ended or asyncio.get_running_loop().time() > give_up:
                    raise
                log.warning("%s; the pictures of %s are kept as soon as it answers", error, claim.id)
                await asyncio.sleep(BEAT_S)

    def _to_engine(self, claim: Job, order: JobSpec) -> JobHandle:
        return self.engine.submit(
            order.task, *self._images(order), key=claim.key_id, priority=claim.priority, previews=order.previews,
            alone=claim.alone, encode=partial(encode, output=order.output),
        )  # fmt: skip

    def _keep(self, claim: Job, order: JobSpec, files: Sequence[FinishedPicture]) -> None:
        seen = self.embeddings.pictures([drawn.picture for drawn in files])
        kept = [
            Kept(
                drawn.data, order.output.media_type, *drawn.picture.image.size, prompt_of(order),
                drawn.picture.recipe.to_json(), embedding, self.embeddings.model,
            )
            for drawn, embedding in zip(files, seen, strict=True)
        ]  # fmt: skip
        self.store.jobs.succeed(claim, kept)

    def _tell(self, job_id: str, said: JobProgress | None) -> None:
        for heard in self._listeners.get(job_id, ()):
            if heard.full():
                heard.get_nowait()
            heard.put_nowait(said)

    # What is done over and over. ---------------------------------------------------------------------------------

    async def _forever(self, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await step()
            except UnavailableError as error:
                log.warning("%s; it is tried again", error)
                await asyncio.sleep(BEAT_S)
            except Exception:
                log.exception("%s failed, and is tried again", getattr(step, "__name__", "a task"))
                await asyncio.sleep(BEAT_S)
            if step == self._claim_all:
                # Before Python 3.12 `wait_for` swallows a cancellation that comes just as what it waits for does.
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await self._wake.wait()
            else:
                await asyncio.sleep(every_s)

    async def _beat(self) -> None:
        """Say that we live and how far we are, and hear what was canceled elsewhere."""
        ours = dict(self._drawings)
        await self._end_probation(ours.values())
        if ours:
            progress = {job_id: drawing.progress for job_id, drawing in ours.items()}
            held = await asyncio.to_thread(self._say, progress, self._untold(ours))
            for job_id in ours.keys() - held:
                ours[job_id].drop()
        if ours or any(self._waiting.values()):
            self._waiting = Counter(await asyncio.to_thread(self.store.jobs.waiting))

    async def _end_probation(self, ours: Collection[Drawing]) -> None:
        """Let others run beside a suspect that has run alone for long enough."""
        for drawing in ours:
            if drawing.claim.alone and asyncio.get_running_loop().time() > drawing.alone_until:
                await asyncio.to_thread(self.store.jobs.join, drawing.claim)
                drawing.claim.alone = False
                if drawing.ticket is not None:
                    drawing.ticket.alone = False
                self._wake.set()

    def _untold(self, ours: Mapping[str, Drawing]) -> dict[str, JobProgress]:
        """What was not told yet, by job; a database that is a file has one server, and nobody else to tell."""
        found = {job_id: drawing.untold for job_id, drawing in ours.items() if drawing.untold is not None}
        for drawing in ours.values():
            drawing.untold = None
        return {} if self.store.database.is_sqlite else found

    def _say(self, progress: Mapping[str, float], untold: Mapping[str, JobProgress]) -> frozenset[str]:
        told = {job_id: moved.to_json() for job_id, moved in untold.items()}
        return self.store.jobs.heartbeat(self._worker, progress, told)

    async def _sweep(self) -> None:
        await asyncio.to_thread(self.store.sweep)

    async def _recover(self) -> None:
        if await asyncio.to_thread(self.store.jobs.recover):
            self._wake.set()

    def _check_room(self, key: Key) -> None:
        """Whether one more may wait: as many of a key as there are places left, so that there are always some left.

        The key of this machine is alone with itself and has them all. (Choudhury and Hahne 1998, dynamic queue length
        thresholds for shared-memory packet switches.)
        """
        waiting = self._waiting + self._coming
        left, own = self.most_queued - waiting.total(), waiting[key.id]
        if left <= 0:
            raise OverloadError(waiting.total(), self._retry_after_s(waiting.total()))
        if key.id != LOCAL and own >= left:
            raise ApiError(
                429, f"{own} jobs of this key are waiting, its share while {left} places are left for others",
                code="queue_share_exceeded", retry_after_s=self._retry_after_s(own),
            )  # fmt: skip

    def _retry_after_s(self, waiting: int) -> int:
        return max(1, min(LONGEST_RETRY_S, round(waiting * self.engine.metrics().request_s)))
