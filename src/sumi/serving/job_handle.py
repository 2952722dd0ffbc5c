"""What somebody holds who has asked for pictures: news as they come, the end, and a way to call it off.

    queued -> running -> succeeded | failed | canceled | stopped

One thread writes and one reader reads, in a thread of its own or in an event loop. A reader who falls behind misses
news of steps, never a picture, so that a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import Image
from torch import Tensor

from sumi.errors import SumiError
from sumi.imaging.pixels import to_image
from sumi.pipelines import Picture

Status = Literal["queued", "running", "succeeded", "failed", "canceled", "stopped"]

MOST_UNREAD = 256


class StoppedError(SumiError):
    """The engine was closed before the request was done; asked again, it draws the same pictures."""


@dataclass(frozen=True)
class JobStarted:
    """The request has left the queue."""


@dataclass(frozen=True)
class StepDone:
    """One step done of a stage; fields as in `sumi.pipelines.Progress`.

    levels: what the pictures look like by now, premultiplied uint8 (B, 4, H, W), where a preview was asked for.
    """

    stage: str
    step: int
    of: int
    seeds: tuple[int, ...]
    levels: Tensor | None = None

    @property
    def previews(self) -> list[Image.Image]:
        """The same as images, one for each seed; made in the thread of who asks."""
        return [] if self.levels is None else [to_image(levels) for levels in self.levels]


@dataclass(frozen=True)
class FinishedPicture:
    """A finished picture, and what the request's `encode` made of it: the bytes of a file."""

    picture: Picture
    data: bytes


Report = JobStarted | StepDone | FinishedPicture


class JobHandle:
    """One request: `for report in ticket` or `async for report in ticket`, by one reader, until it has ended.

    A request that failed raises its error there, one that the engine left unfinished raises StoppedError; one that was
    called off just ends. status: how it stands. error: why it failed. alone: whether every other request is paused
    while this one is drawn; it may be set to False at any time.
    """

    def __init__(self, alone: bool = False) -> None:
        self.alone = alone
        self.status: Status = "queued"
        self.error: BaseException | None = None
        self.canceled = False
        self._reports: deque[Report] = deque()
        self._lock = threading.Lock()
        self._wake: Callable[[], object] = bool

    def cancel(self) -> None:
        """Call it off: at most the step that is being taken is still finished."""
        self.canceled = True

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status not in ("queued", "running")

    def __iter__(self) -> Iterator[Report]:
        """Wait for each report in this thread."""
        news = threading.Event()
        self._wake = news.set
        while True:
            news.clear()
            ended = self.ended
            yield from self._unread()
            if ended:
                break
            news.wait()
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[Report]:
        """Wait for each report in the running event loop."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(news.set)
        while True:
            news.clear()
            ended = self.ended
            for report in self._unread():
                yield report
            if ended:
                break
            await news.wait()
        if self.error is not None:
            raise self.error

    def post(self, report: Report) -> None:
        """Hand a report to the reader; after the end nobody reads."""
        with self._lock:
            if self.ended:
                return
            if isinstance(report, JobStarted):
                self.status = "running"
            if len(self._reports) >= MOST_UNREAD:
                oldest = next((old for old in self._reports if isinstance(old, StepDone)), None)
                if oldest is not None:
                    self._reports.remove(oldest)
            self._reports.append(report)
        self._call()

    def end(self, status: Status, error: BaseException | None = None) -> bool:
        """Say how it ended; the first word counts. Returns whether this was it."""
        with self._lock:
            if self.ended:
                return False
            self.status, self.error = status, error
        self._call()
        return True

    def _unread(self) -> Iterator[Report]:
        while True:
            with self._lock:
                if not self._reports:
                    return
                report = self._reports.popleft()
            yield report

    def _call(self) -> None:
        try:
            self._wake()
        except RuntimeError:  # the reader's event loop is gone, and the reader with it
            self._wake = bool
