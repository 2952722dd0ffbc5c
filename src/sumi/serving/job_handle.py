"""A handle on one request: its reports as they come, its end, and a way to cancel it.

    queued -> running -> succeeded | failed | canceled | stopped

One thread writes and one reader reads, in its own thread or in an event loop. A reader who falls behind loses the
oldest steps and never a picture, so a slow reader costs no memory.
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

MAX_UNREAD = 256


class StoppedError(SumiError):
    """The engine closed before the request was done. The same request draws the same pictures later."""


@dataclass(frozen=True)
class JobStarted:
    """The request has left the queue."""


@dataclass(frozen=True)
class StepDone:
    """One step of a stage is done.

    Attributes:
        stage, step, of, seeds: as in `sumi.pipelines.Progress`.
        levels: the preview, premultiplied uint8 (B, 4, H, W); None where none was due.
    """

    stage: str
    step: int
    of: int
    seeds: tuple[int, ...]
    levels: Tensor | None = None

    @property
    def previews(self) -> list[Image.Image]:
        """The preview as images, one for each seed."""
        return [] if self.levels is None else [to_image(levels) for levels in self.levels]


@dataclass(frozen=True)
class FinishedPicture:
    """A finished picture and the bytes of its file."""

    picture: Picture
    data: bytes


Report = JobStarted | StepDone | FinishedPicture


class JobHandle:
    """One request, read by one reader: `for report in handle` or `async for report in handle`.

    Iteration ends with the request. It raises the error of a failed request, and StoppedError where the engine closed
    first; a canceled request just ends.

    Attributes:
        status: where the request stands.
        error: why it failed.
        canceled: whether `cancel` was called.
        alone: whether all other requests pause while this one runs; may be set to False at any time.
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
        """Cancel the request; at most the current step is still finished."""
        self.canceled = True

    @property
    def ended(self) -> bool:
        """Whether the request has ended."""
        return self.status not in ("queued", "running")

    def __iter__(self) -> Iterator[Report]:
        """Yield reports, blocking this thread until each arrives."""
        ready = threading.Event()
        self._wake = ready.set
        while True:
            ready.clear()
            ended = self.ended
            yield from self._pop_reports()
            if ended:
                break
            ready.wait()
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[Report]:
        """Yield reports, waiting for each in the running event loop."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(ready.set)
        while True:
            ready.clear()
            ended = self.ended
            for report in self._pop_reports():
                yield report
            if ended:
                break
            await ready.wait()
        if self.error is not None:
            raise self.error

    def post(self, report: Report) -> None:
        """Append a report; after the end it is dropped."""
        with self._lock:
            if self.ended:
                return
            if isinstance(report, JobStarted):
                self.status = "running"
            if len(self._reports) >= MAX_UNREAD:
                oldest = next((old for old in self._reports if isinstance(old, StepDone)), None)
                if oldest is not None:
                    self._reports.remove(oldest)
            self._reports.append(report)
        self._notify()

    def end(self, status: Status, error: BaseException | None = None) -> bool:
        """Set the final status; only the first call counts. Return whether this was it."""
        with self._lock:
            if self.ended:
                return False
            self.status, self.error = status, error
        self._notify()
        return True

    def _pop_reports(self) -> Iterator[Report]:
        while True:
            with self._lock:
                if not self._reports:
                    return
                report = self._reports.popleft()
            yield report

    def _notify(self) -> None:
        try:
            self._wake()
        except RuntimeError:  # the reader's event loop is closed
            self._wake = bool
