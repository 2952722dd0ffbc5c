"""Drawing beside the engine for a request that waits: it ends with its client, and with the server.

step, look whether to stop, step, ...
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, TypeVar

from starlette.requests import Request

from sumi.diffusion import Step
from sumi.pipelines.steps import StepRequest, Work, run_steps
from sumi.serving.errors import ApiError
from sumi.serving.job_handle import StoppedError
from sumi.serving.responses import disconnected
from sumi.serving.service import Service

__all__ = ["drawn_beside"]

LOOK_S: Final = 0.1
Value = TypeVar("Value")


async def drawn_beside(request: Request, service: Service, work: Work[Value]) -> Value:
    """Drive a pipeline in a thread and return its result.

    Raises ApiError where the client leaves, and StoppedError where the server is told to stop; both within one step.
    """
    stop = threading.Event()
    drawing = asyncio.create_task(asyncio.to_thread(_driven, work, stop))
    gone = asyncio.create_task(disconnected(request))
    try:
        while not drawing.done():
            await asyncio.wait({drawing, gone}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or not service.open:
                stop.set()
                await asyncio.wait({drawing})
        if stop.is_set():
            drawing.exception()
            raise StoppedError("the server is stopping") if not service.open else ApiError(499, "the client went away")
        return drawing.result()
    finally:
        stop.set()
        gone.cancel()


def _driven(work: Work[Value], stop: threading.Event) -> Value:
    step: Step[Any] | None = None
    try:
        while not stop.is_set():
            said = work.send(step)
            step = run_steps([said])[0] if isinstance(said, StepRequest) else None
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        work.close()
    raise StoppedError("the drawing was called off")
