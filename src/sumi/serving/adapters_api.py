"""Adapters over HTTP: what there is to draw with, and teaching a new one from pictures.

    POST /v1/adapters {concept, images, minutes}  ->  202, learning  ->  ready, drawn with as "adapters": "mochi:0.8"

The adapters of a server belong to all of its keys: whoever may draw may draw with them, and only an admin may teach and
remove, because teaching takes the machine for minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from sumi.bundles import Adapter, adapter_path, list_adapters, open_adapter, remove_adapter
from sumi.conditioning import WordTokenizer
from sumi.errors import SumiError
from sumi.pipelines.checks import check_text
from sumi.serving.app_state import AppState, require_found
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.middleware import AdminKey, ReadKey
from sumi.serving.request_body import document_json_body, read_json
from sumi.serving.schemas import ImageReference, Name, RequestBody
from sumi.serving.teaching_runs import TaughtUpload
from sumi.serving.uploads import decode_data_url
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.new_word import parse_concept

__all__ = ["adapters_routes"]

FEWEST, MOST = 2, 200


class TeachBody(RequestBody):
    """POST /v1/adapters. concept: what the pictures show, with a new word: "my cat Mochi"."""

    concept: Annotated[str, Field(min_length=1, max_length=200)]
    images: Annotated[list[ImageReference], Field(min_length=FEWEST, max_length=MOST)]
    name: Name | None = None
    minutes: Annotated[float, Field(gt=0, le=600)] = 20.0


class AdapterCard(BaseModel):
    """An adapter, or a run that makes one; `usable` says whether it was made for the model of this server."""

    name: str
    object: str = "adapter"
    status: Literal["ready", "learning", "stopped", "failed"]
    usable: bool = False
    has_picture: bool = False
    word: str | None = None
    concept: str | None = None
    pictures: int | None = None
    date: str | None = None
    base: str | None = None
    doing: str | None = None
    step: int | None = None
    num_steps: int | None = None
    loss: float | None = None
    eta_s: float | None = None
    error: str | None = None


class AdapterList(BaseModel):
    """All adapters, and the runs that are not finished."""

    object: str = "list"
    data: list[AdapterCard]


class Removed(BaseModel):
    """The reply of DELETE."""

    name: str
    object: str = "adapter.deleted"
    deleted: bool = True


def adapters_routes(state: AppState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/adapters", tags=["adapters"], responses=RESPONSES)
    runs = state.teaching

    def card(adapter: Adapter) -> AdapterCard:
        record, hashes = adapter.record, state.sumi.model.hashes
        return AdapterCard(
            name=adapter.path.stem, status="ready", word=record.word, concept=record.concept, base=record.base,
            pictures=len(record.pictures), date=record.date, has_picture=runs.picture(adapter.path.stem) is not None,
            usable=all(hashes.get(part) == value for part, value in record.hashes.items()),
        )  # fmt: skip

    def list_all() -> AdapterList:
        ready = [card(adapter) for adapter in list_adapters(runs.folder)[0]]
        return AdapterList(data=[*ready, *map(unfinished_card, runs.unfinished())])

    def unfinished_card(name: str) -> AdapterCard:
        return AdapterCard(name=name, has_picture=runs.picture(name) is not None, **runs.status(name))

    def find(name: str) -> AdapterCard:
        if adapter_path(name, runs.folder).is_file():
            return card(open_adapter(name, runs.folder))
        return require_found(next((one for one in list_all().data if one.name == name), None))

    @routes.get("", summary="The adapters that this server draws with, and the runs that make new ones")
    async def adapters(key: ReadKey) -> AdapterList:
        return await asyncio.to_thread(list_all)

    @routes.post(
        "", status_code=202, summary="Teach the model what some pictures show",
        openapi_extra=document_json_body(TeachBody),
    )  # fmt: skip
    async def teach(request: Request, key: AdminKey) -> AdapterCard:
        body = await read_json(request, TeachBody)
        check_text("concept", body.concept)
        await state.check_prompt(key, None, body.concept)
        name = body.name
        if name is None:
            name = await asyncio.to_thread(default_name, state, body.concept)
        adapter_path(name, runs.folder)
        uploads = [
            await open_picture(state, key, image, f"images.{number}") for number, image in enumerate(body.images)
        ]
        await runs.start(name, body.concept, body.minutes, uploads)
        return await asyncio.to_thread(find, name)

    @routes.get("/{name}", summary="An adapter, or the progress of its run")
    async def adapter(name: str, key: ReadKey) -> AdapterCard:
        return await asyncio.to_thread(find, name)

    @routes.get(
        "/{name}/picture", response_class=Response, summary="A sheet of what it draws, so far or at the end",
        responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )  # fmt: skip
    async def picture(name: str, key: ReadKey) -> Response:
        await asyncio.to_thread(find, name)
        path = require_found(runs.picture(name))
        return Response(await asyncio.to_thread(path.read_bytes), media_type="image/png")

    @routes.post("/{name}/stop", summary="Stop a run, which keeps what it has learned")
    async def stop(name: str, key: AdminKey) -> AdapterCard:
        await asyncio.to_thread(find, name)
        await runs.stop(name)
        return await asyncio.to_thread(find, name)

    @routes.post("/{name}/resume", status_code=202, summary="Go on with a run that was stopped")
    async def resume(name: str, key: AdminKey) -> AdapterCard:
        await asyncio.to_thread(find, name)
        await runs.start(name, "", 0.0, [])
        return await asyncio.to_thread(find, name)

    @routes.delete("/{name}", summary="Remove an adapter, or a run with its pictures")
    async def remove(name: str, key: AdminKey) -> Removed:
        await asyncio.to_thread(find, name)
        await runs.remove(name)
        with suppress(SumiError):  # where there was only a run that had not begun to learn
            await asyncio.to_thread(remove_adapter, name, runs.folder)
        return Removed(name=name)

    return routes


async def open_picture(state: AppState, key: Any, image: ImageReference, named: str) -> TaughtUpload:
    """Return one picture of a request, opened by the sandbox, with the sha256 of the file that was sent."""
    upload = await state.open_upload(key, image, named)
    if image.image_url is not None:
        sent = await asyncio.to_thread(decode_data_url, image.image_url, named)
    else:
        sent = upload.png
    return TaughtUpload(upload.png, hashlib.sha256(sent).hexdigest())


def default_name(state: AppState, concept: str) -> str:
    """Return the new word in a concept; SumiError where the model knows every word of it."""
    if not (isinstance(state.sumi, Sumi) and isinstance(state.sumi.reader, WordTokenizer)):
        raise ApiError(400, "this model cannot be taught", code="not_supported")
    return parse_concept(concept, state.sumi.lexicon, state.sumi.reader).word
