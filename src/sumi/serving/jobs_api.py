"""Our own routes: jobs that are asked for now and fetched later, and the gallery of all that was drawn.

    POST /v1/jobs -> 202, once the job is on the disk; queued -> running -> succeeded | failed | canceled

Every object belongs to a key; to any other it is not there.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sumi.conditioning import Interpretation
from sumi.pipelines import Edit
from sumi.pipelines import Request as Wish
from sumi.pipelines.checks import check_text
from sumi.pipelines.prompt import clean
from sumi.pipelines.tasks import TASKS
from sumi.serving.app_state import AppState
from sumi.serving.body import json_body, read_json
from sumi.serving.errors import RESPONSES, ApiError, as_api_error
from sumi.serving.job_events import JobProgress
from sumi.serving.job_handle import StepDone
from sumi.serving.job_spec import FORMATS, JobSpec, Origin, OutputFormat, image_bytes, job_note
from sumi.serving.middleware import may
from sumi.serving.responses import event, event_response
from sumi.serving.schemas import ImageReference, JobBody, RequestBody
from sumi.serving.signed_urls import PREFIX
from sumi.store import Job, Key
from sumi.store import Picture as Row

__all__ = ["gallery_routes", "jobs_routes"]

Drawer = Annotated[Key, Depends(may["draw"])]
Reader = Annotated[Key, Depends(may["read"])]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64)]
Status = Literal["queued", "running", "succeeded", "failed", "canceled"]
PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS.values()},
    }
}
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
FILE_HEADERS: Final = {"content-security-policy": "sandbox; default-src 'none'", "content-disposition": "inline"}


class OriginCard(BaseModel):
    """A picture that a job starts from: its id in the gallery, None for an upload, and its prompt."""

    picture: str | None
    prompt: str


class PictureCard(BaseModel):
    """A picture of the gallery; `url` opens it for an hour, without a key, unless it is deleted.

    operation: how it was made. prompt: its own text, or that of the pictures that it was made from.
    """

    id: str
    object: str = "picture"
    job: str
    created_at: float
    operation: str
    prompt: str
    liked: bool
    width: int
    height: int
    media_type: str
    size_bytes: int
    seed: int
    url: str
    score: float | None = None
    nearness: float | None = None
    note: str | None = None
    recipe: dict[str, Any] | None = None


class PictureList(BaseModel):
    """A page of the gallery."""

    object: str = "list"
    data: list[PictureCard]
    has_more: bool


class JobCard(BaseModel):
    """A job, and where it stands. origins: the pictures that it starts from, without the mask."""

    id: str
    object: str = "job"
    key: str
    priority: int
    kind: str
    status: Status
    progress: float
    request: dict[str, Any]
    origins: list[OriginCard]
    error: dict[str, Any] | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    attempts: int
    note: str | None = None
    pictures: list[PictureCard] | None = None


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    object: str = "list"
    data: list[JobCard]
    has_more: bool


class LikeBody(RequestBody):
    """What a person says of a picture."""

    liked: bool


class DeletedReply(BaseModel):
    """That a picture is gone."""

    id: str
    object: str = "picture"
    deleted: bool = True


def jobs_routes(desk: AppState) -> APIRouter:
    """The routes of jobs."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=RESPONSES)

    @routes.post(
        "", status_code=202, summary="Ask for a job; it is on the disk when this answers",
        openapi_extra=json_body(JobBody),
    )  # fmt: skip
    async def submit(
        request: Request,
        key: Drawer,
        idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
    ) -> JobCard:
        body = await read_json(request, JobBody)
        if body.priority > 0 and "admin" not in key.scopes:
            raise ApiError(403, "a priority above 0 needs the scope 'admin'", param="priority", code="missing_scope")
        order = await job_spec_of(desk, key, body)
        job = await desk.service.submit(key, order, priority=body.priority, idempotency_key=idempotency_key)
        return await job_with_pictures(desk, request, job)

    @routes.get("", summary="List jobs, the newest first")
    async def jobs(
        request: Request,
        key: Reader,
        limit: Limit = 20,
        after: After = None,
        status: Status | None = None,
        whose: Annotated[Literal["own", "all"], Query(description="`all` needs the scope admin")] = "own",
    ) -> JobList:
        if whose == "all" and "admin" not in key.scopes:
            raise ApiError(403, "the jobs of all keys need the scope 'admin'", param="whose", code="missing_scope")
        of = key.id if whose == "own" else None
        page = await asyncio.to_thread(desk.store.jobs.page, of, limit=limit, after=after, status=status)
        return JobList(data=[job_card(job) for job in page.items], has_more=page.has_more)

    @routes.get("/{job}", summary="A job, with its pictures once it has succeeded")
    async def get(request: Request, job: str, key: Reader) -> JobCard:
        return await job_with_pictures(
            desk, request, found_or_404(await asyncio.to_thread(desk.store.jobs.get, within(key), job))
        )

    @routes.post("/{job}/cancel", summary="End a job that is not over; one that is stays as it ended")
    async def cancel(request: Request, job: str, key: Drawer) -> JobCard:
        return await job_with_pictures(desk, request, found_or_404(await desk.service.cancel(within(key), job)))

    @routes.get(
        "/{job}/events", summary="Follow a job: `progress` with previews, then `done`",
        response_class=StreamingResponse, responses=EVENTS,
    )  # fmt: skip
    async def events(request: Request, job: str, key: Reader) -> StreamingResponse:
        row = found_or_404(await asyncio.to_thread(desk.store.jobs.get, within(key), job))
        return event_response(job_event_stream(desk, request, row))

    return routes


def gallery_routes(desk: AppState) -> APIRouter:
    """The routes of the gallery, and of the files in it."""
    routes = APIRouter(prefix="/v1", tags=["gallery"], responses=RESPONSES)

    @routes.get("/gallery", summary="Pictures, the newest first, or those that hold words, or those nearest in meaning")
    async def gallery(
        request: Request,
        key: Reader,
        limit: Limit = 20,
        after: After = None,
        words: Annotated[str, Query(max_length=400)] = "",
        meaning: Annotated[str | None, Query(max_length=400)] = None,
        liked: Annotated[bool, Query(description="Only pictures that were liked")] = False,
    ) -> PictureList:
        gallery = desk.store.gallery
        if meaning is not None:
            return await nearest(desk, request, key, meaning, limit, liked)
        page = await asyncio.to_thread(gallery.page, key.id, words=words, liked=liked, limit=limit, after=after)
        return PictureList(data=[picture_card(desk, request, row) for row in page.items], has_more=page.has_more)

    @routes.get("/gallery/{picture}", summary="A picture, with its recipe")
    async def get(request: Request, picture: str, key: Reader) -> PictureCard:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, picture))
        return picture_card(desk, request, row).model_copy(update={"recipe": row.recipe})

    @routes.get("/gallery/{picture}/content", responses=PICTURES, response_class=Response, summary="Its file")
    async def content(picture: str, key: Reader) -> Response:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, picture))
        return Response(await desk.service.read(row), headers=FILE_HEADERS, media_type=row.media_type)

    @routes.patch("/gallery/{picture}", summary="Like a picture, or no longer")
    async def mark(request: Request, picture: str, key: Drawer, body: LikeBody) -> PictureCard:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.like, key.id, picture, body.liked))
        return picture_card(desk, request, row)

    @routes.delete(
        "/gallery/{picture}", summary="Delete a picture, its file, and, with the last one of a job, its prompt"
    )
    async def remove(picture: str, key: Drawer) -> DeletedReply:
        if not await asyncio.to_thread(desk.store.gallery.remove, key.id, picture):
            raise ApiError(404, "there is no picture of that id")
        return DeletedReply(id=picture)

    @routes.get(
        "/files/{name}",
        responses=PICTURES,
        response_class=Response,
        summary="A file, by an address that was given for an hour",
    )
    async def file(request: Request, name: str) -> Response:
        if not desk.links.opens(f"{PREFIX}{name}", request.scope["query_string"]):
            raise ApiError(404, "there is no such file, or its address has expired")
        row = await asyncio.to_thread(desk.store.gallery.find, name.partition(".")[0])
        if row is None:  # deleted since the address was given
            raise ApiError(404, "there is no such file, or its address has expired")
        return Response(await desk.service.read(row), headers=FILE_HEADERS, media_type=row.media_type)

    return routes


async def job_spec_of(desk: AppState, key: Key, body: JobBody) -> JobSpec:
    """The order that a body asks for, its pictures opened last; ApiError or SumiError where it cannot be."""
    settings = body.settings
    texts = [settings.get(name, "") for name in ("prompt", "before", "after")]
    desk.check_prompt(body.moderation, *texts)
    kind = TASKS[body.kind]
    needed = {"generate": ("prompt",), "img2img": ("prompt",), "restyle": ("before", "after")}.get(body.kind, ())
    task = kind.of(**dict.fromkeys(needed, "") | settings)
    if body.mask is not None and not isinstance(task, Edit):
        raise ApiError(400, f"{body.kind} has no mask", param="mask", code="invalid_value")
    if body.images and isinstance(task, Wish):
        raise ApiError(400, "generate is done to no picture", param="images", code="invalid_value")
    output = OutputFormat(body.output_format, body.output_compression)
    images = [await desk.referred(key, image, "images") for image in body.images]
    if body.mask is not None:
        images.append(await desk.referred(key, body.mask, "mask"))
    origins = [await origin(desk, key, image) for image in body.images]
    return JobSpec.with_files(task, [image.png for image in images], output, body.previews, tuple(origins))


async def origin(desk: AppState, key: Key, image: ImageReference) -> Origin:
    """Return where a picture that a body refers to comes from."""
    row = await asyncio.to_thread(desk.store.gallery.get, key.id, image.picture or "")
    return Origin() if row is None else Origin(row.id, row.prompt)


async def nearest(
    desk: AppState, request: Request, key: Key, meaning: str, limit: int, liked: bool = False
) -> PictureList:
    """The pictures nearest to a text."""
    check_text("meaning", meaning)
    if not clean(meaning):
        raise ApiError(400, "meaning: the text says nothing", param="meaning", code="invalid_value")
    sees_with = desk.service.embeddings.model
    if sees_with is None:
        raise desk.sumi.cannot("find pictures by meaning")
    embedding = (await desk.service.embeddings.texts([clean(meaning)]))[0]
    found = await asyncio.to_thread(desk.store.gallery.nearest, key.id, embedding, sees_with, limit, liked=liked)
    cards = [picture_card(desk, request, row).model_copy(update={"nearness": cosine}) for row, cosine in found]
    return PictureList(data=cards, has_more=False)


async def job_event_stream(desk: AppState, request: Request, job: Job) -> AsyncIterator[bytes]:
    """The events of a job."""
    try:
        async for news in desk.service.watch(job.key_id, job.id):
            if isinstance(news, JobProgress):
                report = news.report
                said = {"progress": news.progress, "stage": report.stage, "step": report.step, "of": report.of}
                previews = await asyncio.to_thread(preview_data, report)
                yield event("progress", said | {"seeds": list(report.seeds), "previews": previews})
            else:
                yield event("done", (await job_with_pictures(desk, request, news.job)).model_dump())
    except Exception as error:
        yield event("error", as_api_error(error).body)


def preview_data(report: StepDone) -> list[str]:
    """Previews as PNG in base64."""
    return [base64.b64encode(image_bytes(image, OutputFormat())).decode() for image in report.previews]


def within(key: Key) -> str | None:
    """Whose jobs a key may see and cancel: its own; for an admin, None, which is everybody's."""
    return None if "admin" in key.scopes else key.id


def found_or_404(row: Any) -> Any:
    """What was looked for; 404 where it is not there, or another's."""
    if row is None:
        raise ApiError(404, "there is nothing of that id")
    return row


async def job_with_pictures(desk: AppState, request: Request, job: Job) -> JobCard:
    """A job with its pictures."""
    card = job_card(job)
    card.note = await asyncio.to_thread(job_note, desk.sumi, job.kind, job.request["task"])
    if job.status == "succeeded":
        rows = await asyncio.to_thread(desk.store.jobs.pictures, job.key_id, job.id)
        card.pictures = [picture_card(desk, request, row) for row in rows]
    return card


def job_card(job: Job) -> JobCard:
    """A job."""
    return JobCard(
        id=job.id, key=job.key_id, priority=job.priority, kind=job.kind, status=job.status,  # type: ignore[arg-type]
        progress=job.progress, request=job.request["task"], origins=job.request.get("origins", []), error=job.error,
        created_at=job.created_at,
        started_at=job.started_at, finished_at=job.finished_at, attempts=job.attempts,
    )  # fmt: skip


def noted(row: Row) -> str | None:
    """What a picture was drawn as, where that is not its prompt."""
    values = row.recipe.get("interpretations", {}).get("prompt")
    return None if values is None else Interpretation.from_json(values).note


def picture_card(desk: AppState, request: Request, row: Row) -> PictureCard:
    """A picture."""
    suffix = next(name for name, kind in FORMATS.items() if kind == row.media_type)
    return PictureCard(
        id=row.id, job=row.job_id, created_at=row.created_at,
        operation=row.recipe.get("operation", "generate"), prompt=row.prompt, liked=row.liked, width=row.width_px,
        height=row.height_px, media_type=row.media_type, size_bytes=row.size_bytes, seed=row.recipe["seed"],
        score=row.recipe["score"], note=noted(row), url=request.state.address + desk.links.sign(row.id, suffix),
    )  # fmt: skip
