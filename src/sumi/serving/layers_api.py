"""The layers of a picture that was drawn in layers: each as a PNG, or all in one OpenRaster file.

    recipe -> the picture is drawn again -> its layers, back to front

The server stores no layers, so pictures of any age have them. Drawing again runs outside the engine, one picture at a
time, is charged to the key as a job is, and stops within a step when the client disconnects.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sumi.imaging.openraster import MIMETYPE, openraster
from sumi.pipelines import Picture
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.steps import collected
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.job_spec import encode_base64
from sumi.serving.jobs_api import FILE_HEADERS
from sumi.serving.middleware import DrawKey
from sumi.serving.outside_engine import run_outside_engine
from sumi.store import Key

__all__ = ["layers_routes"]

MAX_REMEMBERED: Final = 8
"""Pictures whose layers stay in memory, so that viewing and then downloading them draws once."""
OPENRASTER_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {MIMETYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


class LayerCard(BaseModel):
    """One layer: its prompt, and a PNG in base64 of the size of the whole picture."""

    prompt: str
    image: str


class LayerList(BaseModel):
    """The layers of a picture, from back to front; empty where it was drawn in one piece."""

    object: str = "list"
    picture: str
    data: list[LayerCard]


class LayerCache:
    """Draws pictures again for their layers, one at a time, and remembers the latest."""

    def __init__(self, state: AppState) -> None:
        self._state, self._lock = state, asyncio.Lock()
        self._remembered: OrderedDict[str, Picture] = OrderedDict()

    async def load(self, request: Request, key: Key, picture_id: str) -> Picture:
        """Return a picture with its layers.

        Raises:
            ApiError: the picture is not there, or other weights drew it.
            OverLimitError: the key has used its daily allowance.
        """
        row = await self._state.find_picture(key, picture_id)
        recipe = Recipe.from_json(row.recipe)
        model = await asyncio.to_thread(self._state.sumi.with_adapters, recipe.adapters)
        if dict(recipe.hashes) != dict(model.model.hashes):
            raise ApiError(409, "other weights drew this picture, so this model cannot draw its layers again")
        async with self._lock:
            if row.id not in self._remembered:
                await self._state.charge_redraw(key, recipe)
                pictures: list[Picture] = []
                work = self._state.sumi.work_again(recipe, await self._state.open_picture(row))
                await run_outside_engine(request, self._state.service, collected(work, pictures))
                self._remembered[row.id] = pictures[0]
                if len(self._remembered) > MAX_REMEMBERED:
                    self._remembered.popitem(last=False)
            return self._remembered[row.id]


def layers_routes(state: AppState) -> APIRouter:
    """Return the routes of layers."""
    routes = APIRouter(prefix="/v1/gallery", tags=["gallery"], responses=RESPONSES)
    cache = LayerCache(state)

    @routes.get("/{picture}/layers", summary="The layers of a picture, from back to front")
    async def layers(request: Request, picture: str, key: DrawKey) -> LayerList:
        picture_with_layers = await cache.load(request, key, picture)
        cards = await asyncio.to_thread(
            lambda: [
                LayerCard(prompt=prompt, image=encode_base64(image)) for prompt, image in picture_with_layers.layers
            ]
        )
        return LayerList(picture=picture, data=cards)

    @routes.get(
        "/{picture}/openraster", response_class=Response, responses=OPENRASTER_RESPONSE,
        summary="A picture with its layers as OpenRaster, for Krita, GIMP or MyPaint",
    )  # fmt: skip
    async def stack(request: Request, picture: str, key: DrawKey) -> Response:
        picture_with_layers = await cache.load(request, key, picture)
        if not picture_with_layers.layers:
            raise ApiError(404, "this picture was drawn in one piece and has no layers", code="no_layers")
        data = await asyncio.to_thread(openraster, picture_with_layers.image, picture_with_layers.layers)
        return Response(data, headers=FILE_HEADERS, media_type=MIMETYPE)

    return routes
