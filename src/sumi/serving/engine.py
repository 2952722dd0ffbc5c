"""The engine: one thread holds the model and runs the steps of many requests; other threads submit and listen.

Requests and reports cross between threads through queues. A second thread encodes files. `submit` checks a request in
the caller's thread, so a bad one fails at once. A seed draws the same picture whichever requests share its steps.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from sumi.errors import SumiError
from sumi.pipelines import Artist, Picture, Task
from sumi.pipelines.picturelike import Picturelike
from sumi.pipelines.torch_state import own_torch_state
from sumi.serving.job_handle import JobHandle, StoppedError
from sumi.serving.metrics import EngineMeter, EngineMetrics
from sumi.serving.scheduler import ScheduledJob, Scheduler, SchedulerLimits

MAX_RETRY_S = 120


class OverloadError(SumiError):
    """The queue is full.

    Attributes:
        retry_after_s: when a place may be free, estimated from recent requests.
    """

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"the queue is full: {waiting} requests are waiting; try again in about {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Engine:
    """Draws for many requests at once. Use it in a `with` block, or call `close`.

    Args:
        sumi: the model.
        limits: how much runs and waits at once; see `SchedulerLimits`.

    >>> with Engine(sumi) as engine:  # doctest: +SKIP
    ...     handle = engine.submit(Request("a red fox"))
    ...     pictures = [report for report in handle if isinstance(report, FinishedPicture)]
    """

    def __init__(self, sumi: Artist, limits: SchedulerLimits | None = None) -> None:
        self.limits = limits or SchedulerLimits()
        self._sumi = sumi.batched(self.limits.pictures)
        self._meter = EngineMeter()
        self._encoder_pool = ThreadPoolExecutor(1, "sumi-encoder")
        self._scheduler = Scheduler(
            sumi.preview, self.limits, self._meter, self._encoder_pool.submit,
            pixels={stage: side**2 for stage, side in sumi.drawing_stages.items()},
        )  # fmt: skip
        self._inbox: queue.SimpleQueue[ScheduledJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="sumi-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the engine accepts requests."""
        return self._thread.is_alive() and not self._closed

    def submit(
        self,
        task: Task,
        *images: Picturelike,
        key: str = "",
        priority: int = 0,
        previews: int = 0,
        alone: bool = False,
        encode: Callable[[Picture], bytes] = Picture.png,
    ) -> JobHandle:
        """Put a request into the queue.

        Args:
            task: what to draw.
            images: the pictures that the task works on.
            key: the owner; owners share the engine fairly.
            priority: a higher priority runs first.
            previews: number of steps of each stage that report a preview. A preview decodes, and runs no denoiser.
            alone: pause all other requests until this one ends or `handle.alone` is set to False.
            encode: makes a file of a picture, in a thread of its own.

        Returns:
            A handle that reports progress and pictures.

        Raises:
            SumiError: the model cannot do the task.
            OverloadError: the queue is full.
            StoppedError: the engine is closed.
        """
        work, handle = self._sumi.work(task, *images), JobHandle(alone)
        with self._lock:
            if not self.alive:
                raise StoppedError("the engine is closed")
            if (waiting := self._waiting) >= self.limits.waiting:
                self._meter.count_refused()
                raise OverloadError(waiting, self._retry_after_s(waiting))
            self._inbox.put(ScheduledJob(work, handle, encode, key, priority, previews))
            self._meter.count_submitted()
        return handle

    def metrics(self) -> EngineMetrics:
        """Return a snapshot of what the engine does and has done."""
        return self._meter.read(self._waiting, self._scheduler.running)

    def close(self) -> None:
        """Stop after the current step. Unfinished requests end as "stopped"."""
        with self._lock:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()
        self._encoder_pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _waiting(self) -> int:
        return len(self._scheduler.waiting) + self._inbox.qsize()

    def _retry_after_s(self, waiting: int) -> int:
        return max(1, min(MAX_RETRY_S, math.ceil(waiting * self._meter.read(0, 0).request_s)))

    @own_torch_state()
    def _work(self) -> None:
        reason: BaseException = StoppedError("the engine was closed before the request was done")
        try:
            busy = False
            while self._receive(wait=not busy):
                busy = self._scheduler.tick()
        except BaseException as error:
            reason = error
            raise
        finally:
            with self._lock:
                self._closed = True
            while not self._inbox.empty():
                if (job := self._inbox.get()) is not None:
                    self._scheduler.add(job)
            self._scheduler.stop(reason)

    def _receive(self, wait: bool) -> bool:
        """Take submitted requests from the inbox, and return False once the engine is closed.

        wait: block until something arrives.
        """
        while wait or not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                self._scheduler.add(job)
            wait = False
        return not self._closed
