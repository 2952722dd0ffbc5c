"""OpenAI's image reply, whole or as a stream of events, from a job of the service.

    event: image_generation.partial_image | image_generation.completed        then data: [DONE]

A client that disconnects cancels its job, unless the request has an Idempotency-Key: that client will come back.
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

from sumi.serving.errors import ApiError, PlainJSON, make_failure_error, to_api_error
from sumi.serving.job_events import JobEnded, JobProgress
from sumi.serving.job_handle import StoppedError
from sumi.serving.job_spec import JobSpec, encode_image, find_task_note
from sumi.serving.service import Service
from sumi.serving.signed_urls import SignedUrls
from sumi.store import Job, Key, PictureRow

__all__ = [
    "ImagesReply",
    "ResponseSpec",
    "encode_event",
    "respond",
    "respond_with_events",
    "wait_for_disconnect",
    "with_keepalive",
]

NOTE_HEADER: Final = "x-sumi-note"
"""What was drawn, where that differs from the prompt; non-ASCII characters are escaped as in Python."""
KEEPALIVE_S: Final = 15.0
"""How long a stream stays silent before it sends a comment."""


class ImageDatum(BaseModel):
    """A picture: base64, or an address that opens for an hour; its seed, CLIP score and id in the gallery."""

    b64_json: str | None = None
    url: str | None = None
    seed: int
    score: float | None = None
    id: str


class TokenDetails(BaseModel):
    """Input tokens by kind."""

    text_tokens: int
    image_tokens: int


class Usage(BaseModel):
    """Words read, and places of the latent grid that were read or drawn."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: TokenDetails


class ImagesReply(BaseModel):
    """The reply to a request for pictures that does not stream."""

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
    """How to answer a request for pictures.

    Attributes:
        job_spec: what to draw.
        event_prefix: first part of the names of stream events, such as image_generation.
        response_format: b64_json or url.
        quality, background, safety_identifier: repeated in the reply.
        partial_images: previews of each picture in a stream.
        stream: whether to answer with server-sent events.
        idempotency_key: keeps the job alive when the client disconnects.
    """

    job_spec: JobSpec
    event_prefix: str
    response_format: str = "b64_json"
    quality: str = "auto"
    background: str = "auto"
    safety_identifier: str | None = None
    partial_images: int = 0
    stream: bool = False
    idempotency_key: str | None = None


async def respond(request: Request, service: Service, links: SignedUrls, key: Key, spec: ResponseSpec) -> Response:
    """Submit a job, and answer with its pictures once they are drawn, or with a stream of events."""
    job = await service.submit(key, spec.job_spec, idempotency_key=spec.idempotency_key)
    note = find_task_note(service.sumi, spec.job_spec.task)
    headers = {} if note is None else {NOTE_HEADER: note.encode("ascii", "backslashreplace").decode()}
    if spec.stream:
        return respond_with_events(_stream(service, job, spec), headers)
    done = await _wait_for_success(request, service, job, spec)
    rows = await service.pictures(done)
    data = [_image_datum(row, file, spec, request.state.address, links) for row, file in rows]
    body = {"created": int(time.time()), "data": data, **_output_fields(spec, rows[0][0])}
    body |= _usage(service, spec, len(rows)) | ({} if note is None else {"note": note})
    return PlainJSON(body, headers=headers)


async def _wait_for_success(request: Request, service: Service, job: Job, spec: ResponseSpec) -> Job:
    """Wait for the end of a job; ApiError where it did not succeed or the client has gone."""
    end, gone = asyncio.create_task(_wait_for_end(service, job)), asyncio.create_task(wait_for_disconnect(request))
    try:
        await asyncio.wait({end, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            raise ApiError(499, "the client went away")
        done = end.result()
    except (ApiError, StoppedError, asyncio.CancelledError):
        if spec.idempotency_key is None:
            service.abandon(job)
        raise
    finally:
        end.cancel()
        gone.cancel()
    if done.status != "succeeded":
        raise make_failure_error(done)
    return done


async def _wait_for_end(service: Service, job: Job) -> Job:
    async for event in service.watch(job.key_id, job.id):
        if isinstance(event, JobEnded):
            return event.job
    raise ApiError(404, "the job is gone")


async def wait_for_disconnect(request: Request) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(service: Service, job: Job, spec: ResponseSpec) -> AsyncIterator[bytes]:
    """The events of a request that streams."""
    is_over, num_sent = False, Counter[int]()
    try:
        async for event in service.watch(job.key_id, job.id):
            if isinstance(event, JobProgress):
                wanted = {seed for seed in event.report.seeds if num_sent[seed] < spec.partial_images}
                for seed, data in await asyncio.to_thread(_previews, service, event, spec, wanted) if wanted else ():
                    yield _picture_event(spec, "partial_image", data, seed=seed, partial_image_index=num_sent[seed])
                    num_sent[seed] += 1
                continue
            is_over = True
            if event.job.status != "succeeded":
                raise make_failure_error(event.job)
            for row, file in await service.pictures(event.job):
                usage = _usage(service, spec, 1)
                yield _picture_event(spec, "completed", file, row, seed=row.recipe["seed"], id=row.id, **usage)
        yield b"data: [DONE]\n\n"
    except Exception as error:
        is_over = not isinstance(error, StoppedError)
        yield encode_event("error", to_api_error(error).body)
    finally:
        if not is_over and spec.idempotency_key is None:
            service.abandon(job)


def _previews(
    service: Service, progress: JobProgress, spec: ResponseSpec, wanted: Collection[int]
) -> list[tuple[int, bytes]]:
    """The previews of some seeds as files, at the size of the finished picture."""
    task, files = spec.job_spec.task, []
    for seed, image in zip(progress.report.seeds, progress.report.previews, strict=False):
        if seed in wanted:
            side = task.size or max(service.sumi.sizes[-1], *image.size)
            large = image.resize((side, side), Image.Resampling.BICUBIC)
            files.append((seed, encode_image(large, spec.job_spec.output)))
    return files


def _picture_event(spec: ResponseSpec, name: str, data: bytes, row: PictureRow | None = None, **more: Any) -> bytes:
    kind = f"{spec.event_prefix}.{name}"
    fields = {"type": kind, "b64_json": base64.b64encode(data).decode(), "created_at": int(time.time())}
    return encode_event(kind, fields | _output_fields(spec, row) | more)


def _output_fields(spec: ResponseSpec, row: PictureRow | None) -> dict[str, Any]:
    size = spec.job_spec.task.size
    side = "auto" if size is None else f"{size}x{size}"
    return {
        "size": side if row is None else f"{row.width_px}x{row.height_px}",
        "quality": spec.quality,
        "background": spec.background,
        "output_format": spec.job_spec.output.format,
    } | ({} if spec.safety_identifier is None else {"safety_identifier": spec.safety_identifier})


def _image_datum(row: PictureRow, file: bytes, spec: ResponseSpec, base: str, links: SignedUrls) -> dict[str, Any]:
    if spec.response_format == "url":
        image = {"url": base + links.sign(row.id, spec.job_spec.output.format)}
    else:
        image = {"b64_json": base64.b64encode(file).decode()}
    return image | {"seed": row.recipe["seed"], "score": row.recipe["score"], "id": row.id}


def _usage(service: Service, spec: ResponseSpec, count: int) -> dict[str, Any]:
    places = service.sumi.grid_places
    words = sum(len(text.split()) for text in spec.job_spec.task.texts)
    images, output = places * len(spec.job_spec.images), places * count
    return {
        "usage": {
            "input_tokens": words + images,
            "output_tokens": output,
            "total_tokens": words + images + output,
            "input_tokens_details": {"text_tokens": words, "image_tokens": images},
        }
    }


# Server-sent events. ---------------------------------------------------------------------------------------------


def encode_event(kind: str, data: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def respond_with_events(events: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> StreamingResponse:
    """Return a response that sends events as they come, with a comment in every long silence."""
    return StreamingResponse(with_keepalive(events, KEEPALIVE_S), media_type="text/event-stream", headers=headers)


async def with_keepalive(events: AsyncIterator[bytes], silence_s: float) -> AsyncIterator[bytes]:
    """Yield the events, and a comment after each silence of `silence_s` seconds."""
    pending: asyncio.Future[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            ready, _ = await asyncio.wait({pending}, timeout=silence_s)
            if not ready:
                yield b": still here\n\n"
                continue
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield event
    finally:
        if pending is not None and not pending.done():
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
