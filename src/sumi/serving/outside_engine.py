"""Runs a pipeline outside the engine for a request that waits: it stops when the client or the server goes away."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final, TypeVar

from starlette.requests import Request

from sumi.diffusion import Step
from sumi.pipelines.steps import StepRequest, Work, run_steps
from sumi.serving.errors import ApiError
from sumi.serving.job_handle import StoppedError
from sumi.serving.responses import wait_for_disconnect
from sumi.serving.service import Service

__all__ = ["run_outside_engine"]

POLL_S: Final = 0.1
Value = TypeVar("Value")


async def run_outside_engine(request: Request, service: Service, work: Work[Value]) -> Value:
    """Drive a pipeline in a thread and return its result.

    Raises:
        ApiError: the client has gone.
        StoppedError: the server is stopping. Both within one step.
    """
    stop = threading.Event()
    run = asyncio.create_task(asyncio.to_thread(_drive, work, stop))
    gone = asyncio.create_task(wait_for_disconnect(request))
    try:
        while not run.done():
            await asyncio.wait({run, gone}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or not service.accepting:
                stop.set()
                await asyncio.wait({run})
        if stop.is_set():
            run.exception()
            if not service.accepting:
                raise StoppedError("the server is stopping")
            raise ApiError(499, "the client went away")
        return run.result()
    finally:
        stop.set()
        gone.cancel()


def _drive(work: Work[Value], stop: threading.Event) -> Value:
    step: Step[Any] | None = None
    try:
        while not stop.is_set():
            output = work.send(step)
            step = run_steps([output])[0] if isinstance(output, StepRequest) else None
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        work.close()
    raise StoppedError("the drawing was canceled")
