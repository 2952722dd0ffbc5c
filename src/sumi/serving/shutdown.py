"""Graceful shutdown: accept nothing new, finish what is possible, give back the rest, and exit with status 0.

    SIGTERM or SIGINT   503 for new jobs and at /ready; active jobs are finished, for up to drain_timeout_s; status 0
    a second one        the process ends at once

Neither loses an acknowledged job: unfinished jobs go back to their old places in the queue, and no job is suspected of
having crashed the process, even where a SIGKILL follows.
"""

from __future__ import annotations

import logging
import signal
import time
from types import FrameType

import uvicorn

from sumi.serving.service import Service

__all__ = ["GracefulServer"]

log = logging.getLogger("sumi.serving")


class GracefulServer(uvicorn.Server):
    """A uvicorn server that checks ten times a second whether to stop."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_timeout_s: float) -> None:
        super().__init__(config)
        self.service, self.drain_timeout_s = service, drain_timeout_s
        self._is_stopping = False
        self._deadline: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal; a second one ends the process."""
        if self._is_stopping:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._is_stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop now."""
        if self._is_stopping and self._deadline is None:
            log.warning("stopping; active jobs have %g s to finish, a second signal ends them", self.drain_timeout_s)
            self._deadline = time.monotonic() + self.drain_timeout_s
            self.service.drain()
        if self._deadline is not None and (self.service.idle or time.monotonic() > self._deadline):
            await self.service.close()  # first, so that waiting clients get an answer before the connection closes
            return True
        return await super().on_tick(counter)
