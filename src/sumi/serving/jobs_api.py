"""Our own routes: jobs that clients submit now and fetch later, and the gallery of all pictures.

    POST /v1/jobs -> 202, once the job is on the disk; queued -> running -> succeeded | failed | canceled

Every object belongs to a key. Objects that belong to another key return 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response, StreamingResponse

from sumi.conditioning import Interpretation
from sumi.pipelines import Edit, Request
from sumi.pipelines.checks import check_text
from sumi.pipelines.prompt import clean
from sumi.pipelines.tasks import TASKS
from sumi.serving.app_state import AppState, require_found
from sumi.serving.errors import RESPONSES, ApiError, to_api_error
from sumi.serving.job_events import JobProgress
from sumi.serving.job_spec import FORMATS, JobSpec, Origin, OutputFormat, encode_base64, find_job_note
from sumi.serving.middleware import DrawKey, ReadKey
from sumi.serving.request_body import document_json_body, read_json
from sumi.serving.responses import encode_event, respond_with_events
from sumi.serving.schemas import ImageReference, JobBody, JobRequest, JobStatus, RequestBody
from sumi.serving.signed_urls import PREFIX
from sumi.store import Job, Key, PictureRow

__all__ = [
    "EVENTS",
    "FILE_HEADERS",
    "gallery_routes",
    "jobs_routes",
]

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=64)]
FILE_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
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
    """A picture that a job starts from: its id in the gallery, null for an upload, and its prompt."""

    picture: str | None
    prompt: str


class PictureCard(BaseModel):
    """A picture of the gallery. `url` opens it for an hour without a key, unless it is deleted.

    operation: how it was made. prompt: its own text, or that of the pictures it was made from.
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
    """A job and its status. origins: the pictures that it starts from, without the mask."""

    id: str
    object: str = "job"
    key: str
    priority: int
    kind: str
    status: JobStatus
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
    """PATCH /v1/gallery/{picture}."""

    liked: bool


class DeletedReply(BaseModel):
    """The picture is deleted."""

    id: str
    object: str = "picture"
    deleted: bool = True


def jobs_routes(state: AppState) -> APIRouter:
    """Return the routes of jobs."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=RESPONSES)

    @routes.post(
        "", status_code=202, summary="Submit a job; it is on the disk when this answers",
        openapi_extra=document_json_body(JobBody),
    )  # fmt: skip
    async def submit(
        request: HTTPRequest,
        key: DrawKey,
        idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
    ) -> JobCard:
        body = await read_json(request, JobBody)
        if body.priority > 0 and "admin" not in key.scopes:
            raise ApiError(403, "a priority above 0 needs the scope 'admin'", param="priority", code="missing_scope")
        spec = await make_job_spec(state, key, body)
        job = await state.service.submit(key, spec, priority=body.priority, idempotency_key=idempotency_key)
        return await load_job_card(state, request, job)

    @routes.get("", summary="List jobs, the newest first")
    async def jobs(
        request: HTTPRequest,
        key: ReadKey,
        limit: Limit = 20,
        after: After = None,
        status: JobStatus | None = None,
        whose: Annotated[Literal["own", "all"], Query(description="`all` needs the scope admin")] = "own",
    ) -> JobList:
        if whose == "all" and "admin" not in key.scopes:
            raise ApiError(403, "the jobs of all keys need the scope 'admin'", param="whose", code="missing_scope")
        key_id = key.id if whose == "own" else None
        page = await asyncio.to_thread(state.store.jobs.page, key_id, limit=limit, after=after, status=status)
        return JobList(data=[make_job_card(job) for job in page.items], has_more=page.has_more)

    @routes.get("/{job}", summary="A job, with its pictures once it has succeeded")
    async def get(request: HTTPRequest, job: str, key: ReadKey) -> JobCard:
        return await load_job_card(state, request, await find_job(state, key, job))

    @routes.post("/{job}/cancel", summary="Cancel an unfinished job; a finished one stays as it is")
    async def cancel(request: HTTPRequest, job: str, key: DrawKey) -> JobCard:
        row = require_found(await state.service.cancel(visible_key_id(key), job))
        return await load_job_card(state, request, row)

    @routes.get(
        "/{job}/events", summary="Follow a job: `progress` with previews, then `done`",
        response_class=StreamingResponse, responses=EVENTS,
    )  # fmt: skip
    async def events(request: HTTPRequest, job: str, key: ReadKey) -> StreamingResponse:
        return respond_with_events(stream_job_events(state, request, await find_job(state, key, job)))

    return routes


def gallery_routes(state: AppState) -> APIRouter:
    """Return the routes of the gallery and of its files."""
    routes = APIRouter(prefix="/v1", tags=["gallery"], responses=RESPONSES)

    @routes.get("/gallery", summary="Pictures: the newest first, or by words, or by meaning")
    async def gallery(
        request: HTTPRequest,
        key: ReadKey,
        limit: Limit = 20,
        after: After = None,
        words: Annotated[str, Query(max_length=400)] = "",
        meaning: Annotated[str | None, Query(max_length=400)] = None,
        liked: Annotated[bool, Query(description="Only pictures with a like")] = False,
    ) -> PictureList:
        if meaning is not None:
            return await search_by_meaning(state, request, key, meaning, limit, liked)
        page = await asyncio.to_thread(
            state.store.gallery.page, key.id, words=words, liked=liked, limit=limit, after=after
        )
        return PictureList(data=[make_picture_card(state, request, row) for row in page.items], has_more=page.has_more)

    @routes.get("/gallery/{picture}", summary="A picture, with its recipe")
    async def get(request: HTTPRequest, picture: str, key: ReadKey) -> PictureCard:
        row = await state.find_picture(key, picture)
        return make_picture_card(state, request, row).model_copy(update={"recipe": row.recipe})

    @routes.get("/gallery/{picture}/content", responses=FILE_RESPONSE, response_class=Response, summary="Its file")
    async def content(picture: str, key: ReadKey) -> Response:
        return await respond_with_file(state, await state.find_picture(key, picture))

    @routes.patch("/gallery/{picture}", summary="Like a picture, or take the like back")
    async def mark(request: HTTPRequest, picture: str, key: DrawKey, body: LikeBody) -> PictureCard:
        row = require_found(await asyncio.to_thread(state.store.gallery.like, key.id, picture, body.liked))
        return make_picture_card(state, request, row)

    @routes.delete(
        "/gallery/{picture}", summary="Delete a picture, its file, and, with the last picture of a job, its prompt"
    )
    async def remove(picture: str, key: DrawKey) -> DeletedReply:
        if not await asyncio.to_thread(state.store.gallery.remove, key.id, picture):
            raise ApiError(404, "no picture has that id")
        return DeletedReply(id=picture)

    @routes.get(
        "/files/{name}", responses=FILE_RESPONSE, response_class=Response, summary="A file, by a signed address"
    )
    async def file(request: HTTPRequest, name: str) -> Response:
        row = None
        if state.links.opens(f"{PREFIX}{name}", request.scope["query_string"]):
            row = await asyncio.to_thread(state.store.gallery.find, name.partition(".")[0])
        if row is None:  # a wrong signature, an old one, or a picture that was deleted since
            raise ApiError(404, "there is no such file, or its address has expired")
        return await respond_with_file(state, row)

    return routes


async def make_job_spec(state: AppState, key: Key, body: JobRequest) -> JobSpec:
    """Return the spec of a job body. Pictures are opened last, once everything else is valid.

    Raises:
        ApiError, SumiError: the job cannot be drawn as it is.
    """
    settings = body.settings
    kind = TASKS[body.kind]
    texts = (str(settings.get(name, "")) for name in ("prompt", "before", "after"))
    await state.check_prompt(key, body.moderation, *texts)
    required = [name for name, option in kind.schema().items() if option.required]  # the task refuses an empty text
    task = kind.of(**dict.fromkeys(required, "") | settings)
    if body.mask is not None and not isinstance(task, Edit):
        raise ApiError(400, f"{body.kind} takes no mask", param="mask", code="invalid_value")
    if body.images and isinstance(task, Request):
        raise ApiError(400, "generate takes no pictures", param="images", code="invalid_value")
    output = OutputFormat(body.output_format, body.output_compression)
    images = [await state.open_upload(key, image, "images") for image in body.images]
    if body.mask is not None:
        images.append(await state.open_upload(key, body.mask, "mask"))
    origins = [await find_origin(state, key, image) for image in body.images]
    marked = [image.marked_file for image in images]
    return JobSpec.with_files(task, [image.png for image in images], output, body.previews, origins, marked)


async def find_origin(state: AppState, key: Key, image: ImageReference) -> Origin:
    """Return where a picture of a job body comes from."""
    row = await asyncio.to_thread(state.store.gallery.get, key.id, image.picture or "")
    return Origin() if row is None else Origin(row.id, row.prompt)


async def search_by_meaning(
    state: AppState, request: HTTPRequest, key: Key, meaning: str, limit: int, liked: bool
) -> PictureList:
    """Return the pictures whose CLIP embeddings are nearest to a text."""
    check_text("meaning", meaning)
    if not clean(meaning):
        raise ApiError(400, "meaning: the text is empty", param="meaning", code="invalid_value")
    clip = state.service.embeddings.model
    if clip is None:
        raise state.sumi.cannot("find pictures by meaning")
    embedding = (await state.service.embeddings.texts([clean(meaning)]))[0]
    found = await asyncio.to_thread(state.store.gallery.find_nearest, key.id, embedding, clip, limit, liked=liked)
    cards = [make_picture_card(state, request, row).model_copy(update={"nearness": cosine}) for row, cosine in found]
    return PictureList(data=cards, has_more=False)


async def stream_job_events(state: AppState, request: HTTPRequest, job: Job) -> AsyncIterator[bytes]:
    """Yield a job's events as server-sent events."""
    try:
        async for event in state.service.watch(job.key_id, job.id):
            if isinstance(event, JobProgress):
                report = event.report
                fields = {"progress": event.progress, "stage": report.stage, "step": report.step, "of": report.of}
                previews = await asyncio.to_thread(lambda report: list(map(encode_base64, report.previews)), report)
                yield encode_event("progress", fields | {"seeds": list(report.seeds), "previews": previews})
            else:
                yield encode_event("done", (await load_job_card(state, request, event.job)).model_dump())
    except Exception as error:
        yield encode_event("error", to_api_error(error).body)


async def find_job(state: AppState, key: Key, job_id: str) -> Job:
    """Return a job that a key may see; ApiError (404) where it is not there."""
    return require_found(await asyncio.to_thread(state.store.jobs.get, visible_key_id(key), job_id))


def visible_key_id(key: Key) -> str | None:
    """Return whose jobs a key may see and cancel: its own; for an admin None, which means everybody's."""
    return None if "admin" in key.scopes else key.id


async def respond_with_file(state: AppState, row: PictureRow) -> Response:
    """Return a picture's file."""
    return Response(await state.service.read(row), headers=FILE_HEADERS, media_type=row.media_type)


async def load_job_card(state: AppState, request: HTTPRequest, job: Job) -> JobCard:
    """Return a job with its note and its pictures."""
    card = make_job_card(job)
    card.note = await asyncio.to_thread(find_job_note, state.sumi, job.kind, job.request["task"])
    if job.status == "succeeded":
        rows = await asyncio.to_thread(state.store.jobs.pictures, job.key_id, job.id)
        card.pictures = [make_picture_card(state, request, row) for row in rows]
    return card


def make_job_card(job: Job) -> JobCard:
    """Return a job without its pictures."""
    fields = {
        "id": job.id, "key": job.key_id, "priority": job.priority, "kind": job.kind, "status": job.status,
        "progress": job.progress, "request": job.request["task"], "origins": job.request.get("origins", []),
        "error": job.error, "created_at": job.created_at, "started_at": job.started_at,
        "finished_at": job.finished_at, "attempts": job.attempts,
    }  # fmt: skip
    return JobCard.model_validate(fields)


def read_picture_note(row: PictureRow) -> str | None:
    """Return what a picture was drawn as, where that differs from its prompt."""
    values = row.recipe.get("interpretations", {}).get("prompt")
    return None if values is None else Interpretation.from_json(values).note


def make_picture_card(state: AppState, request: HTTPRequest, row: PictureRow) -> PictureCard:
    """Return a picture without its recipe."""
    suffix = next(name for name, kind in FORMATS.items() if kind == row.media_type)
    return PictureCard(
        id=row.id, job=row.job_id, created_at=row.created_at,
        operation=row.recipe.get("operation", "generate"), prompt=row.prompt, liked=row.liked, width=row.width_px,
        height=row.height_px, media_type=row.media_type, size_bytes=row.size_bytes, seed=row.recipe["seed"],
        score=row.recipe["score"], note=read_picture_note(row),
        url=request.state.address + state.links.sign(row.id, suffix),
    )  # fmt: skip
