"""What is sent back for pictures: OpenAI's image reply, whole or as a stream of events, from a job of the service.

    event: image_generation.partial_image | image_generation.completed        then data: [DONE]

A client that goes away while its answer is drawn takes its job with it, unless an Idempotency-Key says that it will
come back for it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sumi.serving.errors import ApiError, PlainJSON, as_api_error, failure
from sumi.serving.job_events import JobEnded, JobProgress
from sumi.serving.job_handle import StoppedError
from sumi.serving.job_spec import JobSpec, image_bytes, note_of
from sumi.serving.service import Service
from sumi.serving.signed_urls import SignedUrls
from sumi.store import Job, Key
from sumi.store import Picture as Row

__all__ = ["ImagesReply", "ResponseSpec", "disconnected", "event", "event_response", "respond", "with_keepalive"]

NOTE_HEADER: Final = "x-sumi-note"
"""What was drawn, where that is not what was asked for; what is not ASCII is escaped as in Python."""
QUIET_S: Final = 15.0
"""How long a stream may say nothing before it says that it is still there."""


class ImageDatum(BaseModel):
    """A picture: its bytes in base64, or where they are for an hour; and how to draw it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int
    score: float | None = None
    id: str


class TokenDetails(BaseModel):
    """What went in, by kind."""

    text_tokens: int
    image_tokens: int


class Usage(BaseModel):
    """Words that were read, and places of the grid of latents that were looked at or drawn."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: TokenDetails


class ImagesReply(BaseModel):
    """The answer to every request for pictures that does not stream."""

    created: int
    data: list[ImageDatum]
    background: str
    output_format: str
    quality: str
    size: str
    safety_identifier: str | None = None
    usage: Usage
    note: str | None = None


@dataclass(frozen=True)
class ResponseSpec:
    """What the answer must still know of the question. event: what its events are called."""

    order: JobSpec
    event: str
    response_format: str = "b64_json"
    quality: str = "auto"
    background: str = "auto"
    safety_identifier: str | None = None
    partial_images: int = 0
    stream: bool = False
    idempotency_key: str | None = None


async def respond(request: Request, service: Service, links: SignedUrls, key: Key, asked: ResponseSpec) -> Response:
    """Have it drawn, and answer as it was asked to be."""
    job = await service.submit(key, asked.order, idempotency_key=asked.idempotency_key)
    note = note_of(service.sumi, asked.order.task)
    headers = {} if note is None else {NOTE_HEADER: note.encode("ascii", "backslashreplace").decode()}
    if asked.stream:
        return event_response(_stream(service, job, asked), headers)
    done = await _finished(request, service, job, asked)
    rows = await service.pictures(done)
    data = [_datum(row, file, asked, request.state.address, links) for row, file in rows]
    body = {"created": int(time.time()), "data": data, **_said(asked, rows[0][0]), **_usage(service, asked, len(rows))}
    return PlainJSON(body if note is None else body | {"note": note}, headers=headers)


async def _finished(request: Request, service: Service, job: Job, asked: ResponseSpec) -> Job:
    """Wait for the end of a job; ApiError where it is no success, or nobody listens any more."""
    end, gone = asyncio.create_task(_end(service, job)), asyncio.create_task(disconnected(request))
    try:
        await asyncio.wait({end, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            raise ApiError(499, "the client went away")
        done = end.result()
    except (ApiError, StoppedError, asyncio.CancelledError):
        if asked.idempotency_key is None:  # nobody will come for it
            service.abandon(job)
        raise
    finally:
        end.cancel()
        gone.cancel()
    if done.status != "succeeded":
        raise failure(done)
    return done


async def _end(service: Service, job: Job) -> Job:
    async for news in service.watch(job.key_id, job.id):
        if isinstance(news, JobEnded):
            return news.job
    raise ApiError(404, "the job is gone")


async def disconnected(request: Request) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(service: Service, job: Job, asked: ResponseSpec) -> AsyncIterator[bytes]:
    """The events of a request that streams."""
    over, shown = False, Counter[int]()
    try:
        async for news in service.watch(job.key_id, job.id):
            if isinstance(news, JobProgress):
                wanted = {seed for seed in news.report.seeds if shown[seed] < asked.partial_images}
                for seed, data in await asyncio.to_thread(_previews, service, news, asked, wanted) if wanted else ():
                    yield _told(asked, "partial_image", data, seed=seed, partial_image_index=shown[seed])
                    shown[seed] += 1
                continue
            over = True
            if news.job.status != "succeeded":
                raise failure(news.job)
            for row, file in await service.pictures(news.job):
                usage = _usage(service, asked, 1)
                yield _told(asked, "completed", file, row, seed=row.recipe["seed"], id=row.id, **usage)
        yield b"data: [DONE]\n\n"
    except Exception as error:
        over = not isinstance(error, StoppedError)
        yield event("error", as_api_error(error).body)
    finally:
        if not over and asked.idempotency_key is None:
            service.abandon(job)


def _previews(
    service: Service, moved: JobProgress, asked: ResponseSpec, wanted: Collection[int]
) -> list[tuple[int, bytes]]:
    """What a step saw of some seeds, at the size that the finished picture will have."""
    task, seen = asked.order.task, []
    for seed, image in zip(moved.report.seeds, moved.report.previews, strict=False):
        if seed not in wanted:
            continue
        side = task.size or max(service.sumi.sizes[-1], *image.size)
        large = image.resize((side, side), Image.Resampling.BICUBIC)
        seen.append((seed, image_bytes(large, asked.order.output)))
    return seen


def _told(asked: ResponseSpec, what: str, data: bytes, row: Row | None = None, **more: Any) -> bytes:
    kind = f"{asked.event}.{what}"
    said = {"type": kind, "b64_json": base64.b64encode(data).decode(), "created_at": int(time.time())}
    return event(kind, said | _said(asked, row) | more)


def _said(asked: ResponseSpec, row: Row | None) -> dict[str, Any]:
    size = asked.order.task.size
    side = "auto" if size is None else f"{size}x{size}"
    return {
        "size": side if row is None else f"{row.width_px}x{row.height_px}",
        "quality": asked.quality,
        "background": asked.background,
        "output_format": asked.order.output.format,
    } | ({} if asked.safety_identifier is None else {"safety_identifier": asked.safety_identifier})


def _datum(row: Row, file: bytes, asked: ResponseSpec, base: str, links: SignedUrls) -> dict[str, Any]:
    if asked.response_format == "url":
        shown = {"url": base + links.sign(row.id, asked.order.output.format)}
    else:
        shown = {"b64_json": base64.b64encode(file).decode()}
    return shown | {"seed": row.recipe["seed"], "score": row.recipe["score"], "id": row.id}


def _usage(service: Service, asked: ResponseSpec, count: int) -> dict[str, Any]:
    places = service.sumi.grid_places
    words = sum(len(text.split()) for text in asked.order.task.texts)
    images, drawn = places * len(asked.order.images), places * count
    return {
        "usage": {
            "input_tokens": words + images,
            "output_tokens": drawn,
            "total_tokens": words + images + drawn,
            "input_tokens_details": {"text_tokens": words, "image_tokens": images},
        }
    }


# Server-sent events. ---------------------------------------------------------------------------------------------


def event(kind: str, data: Any) -> bytes:
    """One event."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def event_response(events: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> StreamingResponse:
    """Return a response that sends events as they come, and a comment where none does for a while."""
    return StreamingResponse(with_keepalive(events, QUIET_S), media_type="text/event-stream", headers=headers)


async def with_keepalive(events: AsyncIterator[bytes], quiet_s: float) -> AsyncIterator[bytes]:
    """The events, and a comment whenever there was none for so long."""
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            ready, _ = await asyncio.wait({pending}, timeout=quiet_s)
            if not ready:
                yield b": still here\n\n"
                continue
            try:
                said = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield said
    finally:
        if pending is not None and not pending.done():
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
