"""The tab *How it works*: any picture of the gallery, taken apart where everybody can see.

A panel is a route here, which says what there is to show of a picture, and a function of `static/how_it_works.js`,
which shows it. The first is the scrubber: every step that drew the picture, from noise to result. What else is shown,
the API says to anybody (`sumi.serving.explain_api`): which word drew which part, and the nearest training drawings.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

import gradio as gr
from fastapi import APIRouter, Depends
from PIL import Image
from starlette.responses import StreamingResponse

from sumi.explain.trace import TraceStep, trace_picture
from sumi.imaging.image_file import read_image
from sumi.pipelines.recipe import Recipe
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, as_api_error
from sumi.serving.job_spec import OutputFormat, image_bytes
from sumi.serving.jobs_api import EVENTS, found_or_404
from sumi.serving.middleware import may
from sumi.serving.responses import event, event_response
from sumi.store import Key
from sumi.store import Picture as Row

__all__ = ["routes", "tab"]

WORDS = """
## From noise to picture

Choose a picture. It is drawn again, to the bit, and every step is kept. On the left is what the model has in its hand:
at first pure noise. On the right is what it believes the picture will be. Each step takes it a little of the way from
the one to the other.
"""


def tab() -> None:
    """Lay out the tab; `static/how_it_works.js` fills it."""
    with gr.Tab("How it works", id="how", elem_id="how-tab"):
        gr.Markdown(WORDS, elem_id="how-words")
        gr.Column(elem_id="how-it-works")


def routes(desk: AppState) -> APIRouter:
    """What the tab asks for."""
    router = APIRouter(prefix="/v1/gallery", tags=["studio"], responses=RESPONSES)
    turn = asyncio.Semaphore(1)  # beside the engine, so one at a time

    @router.get(
        "/{picture}/steps", summary="How a picture was drawn: `frame` by frame, then `done`",
        response_class=StreamingResponse, responses=EVENTS,
    )  # fmt: skip
    async def steps(picture: str, key: Annotated[Key, Depends(may["draw"])]) -> StreamingResponse:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, picture))
        return event_response(_frames(desk, row, turn))

    return router


async def _frames(desk: AppState, row: Row, turn: asyncio.Semaphore) -> AsyncIterator[bytes]:
    """A picture's steps as events."""
    try:
        recipe, image = Recipe.from_json(row.recipe), await asyncio.to_thread(_opened, desk, row)
        async with turn:
            unfolded = trace_picture(desk.sumi, recipe, image)
            while (seen := await asyncio.to_thread(next, unfolded, None)) is not None:
                if isinstance(seen, TraceStep):
                    yield event("frame", await asyncio.to_thread(_told, seen))
        yield event("done", {})
    except Exception as error:
        yield event("error", as_api_error(error).body)


def _opened(desk: AppState, row: Row) -> Image.Image:
    return read_image(io.BytesIO(desk.store.gallery.read(row)), "of the gallery")


def _told(frame: TraceStep) -> dict[str, Any]:
    images = {"noisy": frame.noisy, "mean": frame.mean}
    coded = {name: base64.b64encode(image_bytes(image, OutputFormat())).decode() for name, image in images.items()}
    return {"stage": frame.stage, "step": frame.step, "of": frame.of, "t": round(frame.t, 4)} | coded
