"""One thread holds the model and takes the steps of many requests; all others only ask and listen.

Requests and their reports cross between threads by queues. Files are encoded in a second thread. A request is checked
where it is made, so that its faults are known at once, and drawn here. Same seed, same picture, whoever shares a step.
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
from sumi.pipelines.artist import Picturelike
from sumi.pipelines.torch_state import own_torch_state
from sumi.serving.engine_metrics import EngineMeter, EngineMetrics
from sumi.serving.job_handle import JobHandle, StoppedError
from sumi.serving.scheduler import ScheduledJob, Scheduler, SchedulerLimits

LONGEST_RETRY_S = 120


class OverloadError(SumiError):
    """The queue is full. retry_after_s: when there may be room, as far as can be told from late."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} requests are waiting already: try again in about {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Engine:
    """A model at work for many; a context manager, or `close` it.

    >>> with Engine(sumi) as engine:  # doctest: +SKIP
    ...     pictures = [report for report in engine.submit(Request("a red fox")) if isinstance(report, Drawn)]
    """

    def __init__(self, sumi: Artist, limits: SchedulerLimits | None = None) -> None:
        self.limits = limits or SchedulerLimits()
        self._sumi = sumi.batched(self.limits.pictures)
        self._meter = EngineMeter()
        self._clerk = ThreadPoolExecutor(1, "sumi-clerk")
        self._scheduler = Scheduler(
            sumi.preview, self.limits, self._meter, self._clerk.submit,
            pixels={stage: side**2 for stage, side in sumi.drawing_stages.items()},
        )  # fmt: skip
        self._inbox: queue.SimpleQueue[ScheduledJob | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="sumi-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
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

        key: whose it is, for fairness. priority: higher goes first. previews: of how many of a stage's steps to show
        the picture; each costs a call of the codec, none of a denoiser. alone: pause every other request until this one
        has ended, or its ticket's `alone` is set to False. encode: what makes a file of a picture, in a
        thread of its own. Raises SumiError for what the model cannot do, OverloadError when the queue is full, and
        StoppedError when the engine is closed.
        """
        work, ticket = self._sumi.work(task, *images), JobHandle(alone)
        with self._gate:
            if not self.alive:
                raise StoppedError("the engine is closed")
            if (waiting := self._waiting) >= self.limits.waiting:
                self._meter.count(refused=1)
                raise OverloadError(waiting, self._retry_after_s(waiting))
            self._inbox.put(ScheduledJob(work, ticket, encode, key, priority, previews))
            self._meter.count(submitted=1)
        return ticket

    def metrics(self) -> EngineMetrics:
        """How it stands and what it has done."""
        return self._meter.read(self._waiting, self._scheduler.running)

    def close(self) -> None:
        """Stop after the step that is being taken; what is unfinished ends as stopped."""
        with self._gate:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()
        self._clerk.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _waiting(self) -> int:
        return len(self._scheduler.waiting) + self._inbox.qsize()

    def _retry_after_s(self, waiting: int) -> int:
        return max(1, min(LONGEST_RETRY_S, math.ceil(waiting * self._meter.read(0, 0).request_s)))

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
            with self._gate:
                self._closed = True
            while not self._inbox.empty():
                if (job := self._inbox.get()) is not None:
                    self._scheduler.add(job)
            self._scheduler.stop(reason)

    def _receive(self, wait: bool) -> bool:
        """Take in what was submitted, waiting for it if there is nothing else to do; False when closed."""
        while wait or not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                self._scheduler.add(job)
            wait = False
        return not self._closed
