"""How a server leaves: it takes nothing new, finishes what it can, gives back the rest, and says that all went well.

    SIGTERM or SIGINT   503 for new jobs and at /ready; what is being drawn is finished, for up to drain_s; status 0
    a second one        the process ends there and then

Neither loses anything that was acknowledged: what is unfinished is queued again, at its old place, and no job is
suspected of having ended the process, also where a SIGKILL follows.
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
    """Uvicorn, which looks ten times a second whether it should leave."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self.service, self.drain_s = service, drain_s
        self._asked = False
        self._leave_by: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        if self._asked:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._asked = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to leave now."""
        if self._asked and self._leave_by is None:
            log.warning("stopping: finishing what is drawn, for up to %g s; once more to stop at once", self.drain_s)
            self._leave_by = time.monotonic() + self.drain_s
            self.service.drain()
        if self._leave_by is not None and (self.service.idle or time.monotonic() > self._leave_by):
            await self.service.close()  # first, so that whoever waits for a picture is answered before it is hung up
            return True
        return await super().on_tick(counter)
