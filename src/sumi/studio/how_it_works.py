"""The tab *How it works*, which takes a picture of the gallery apart.

A panel is a route that says what there is to show, and a function of `static/how_it_works.js` that shows it. The route
here is for the scrubber: every step that drew the picture, from noise to result. The other panels read the API
(`sumi.serving.explain_api`): which word drew which part, and the nearest training drawings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import gradio as gr
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from sumi.explain.trace import TraceStep, trace_picture
from sumi.pipelines.recipe import Recipe
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, to_api_error
from sumi.serving.job_spec import encode_base64
from sumi.serving.jobs_api import EVENTS
from sumi.serving.middleware import DrawKey
from sumi.serving.responses import encode_event, respond_with_events
from sumi.store import PictureRow

__all__ = ["add_tab", "routes"]

INTRODUCTION: Final = """
## From noise to picture

Choose a picture. The model draws it again, exactly, and keeps every step. The left side shows the noisy image, pure
noise at first. The right side shows the model's estimate of the finished picture. Each step moves the left a little
towards the right.
"""


def add_tab() -> None:
    """Lay out the tab; `static/how_it_works.js` fills it."""
    with gr.Tab("How it works", id="how", elem_id="how-tab"):
        gr.Markdown(INTRODUCTION, elem_id="how-words")
        gr.Column(elem_id="how-it-works")


def routes(state: AppState) -> APIRouter:
    """Return the route of the scrubber."""
    router = APIRouter(prefix="/v1/gallery", tags=["studio"], responses=RESPONSES)
    lock = asyncio.Lock()  # it draws outside the engine, one picture at a time

    @router.get(
        "/{picture}/steps", summary="How a picture was drawn: `frame` by frame, then `done`",
        response_class=StreamingResponse, responses=EVENTS,
    )  # fmt: skip
    async def steps(picture: str, key: DrawKey) -> StreamingResponse:
        row = await state.find_picture(key, picture)
        await state.charge_redraw(key, Recipe.from_json(row.recipe))
        return respond_with_events(_stream_trace(state, row, lock))

    return router


async def _stream_trace(state: AppState, row: PictureRow, lock: asyncio.Lock) -> AsyncIterator[bytes]:
    """Yield a picture's steps as server-sent events."""
    try:
        image = await state.open_picture(row)
        async with lock:
            trace = trace_picture(state.sumi, Recipe.from_json(row.recipe), image)
            while (event := await asyncio.to_thread(next, trace, None)) is not None:
                if isinstance(event, TraceStep):
                    yield encode_event("frame", await asyncio.to_thread(_frame_json, event))
        yield encode_event("done", {})
    except Exception as error:
        yield encode_event("error", to_api_error(error).body)


def _frame_json(frame: TraceStep) -> dict[str, Any]:
    images = {"noisy": encode_base64(frame.noisy), "mean": encode_base64(frame.mean)}
    return {"stage": frame.stage, "step": frame.step, "of": frame.of, "t": round(frame.t, 4)} | images
