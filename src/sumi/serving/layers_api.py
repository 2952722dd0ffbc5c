"""The layers of a picture that was drawn in layers: each as a PNG, or all of them in one OpenRaster file.

    recipe -> the picture is drawn again -> its layers, back to front

The server keeps no layers, so an old picture has its layers as well. Drawing it again runs beside the engine, one
picture at a time, and stops between two steps when the client is gone.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sumi.imaging.image_file import read_image
from sumi.imaging.openraster import MIMETYPE, openraster
from sumi.pipelines import Picture
from sumi.pipelines.recipe import Recipe
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.explain_api import png
from sumi.serving.jobs_api import FILE_HEADERS, found_or_404
from sumi.serving.middleware import may
from sumi.store import Key
from sumi.store import Picture as Row

__all__ = ["layers_routes"]

REMEMBERED: Final = 8
"""Pictures whose layers stay in memory, so that looking at them and taking them away draws once."""
FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {MIMETYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
Drawer = Annotated[Key, Depends(may["draw"])]


class LayerCard(BaseModel):
    """One layer where it lies in the picture: its own prompt, and a PNG in base64, as large as the picture."""

    prompt: str
    image: str


class LayerList(BaseModel):
    """The layers of a picture, from back to front; none where it was drawn in one piece."""

    object: str = "list"
    picture: str
    data: list[LayerCard]


class Layers:
    """Draws pictures again for their layers, one at a time."""

    def __init__(self, desk: AppState) -> None:
        self._desk, self._turn = desk, asyncio.Semaphore(1)
        self._remembered: OrderedDict[str, Picture] = OrderedDict()

    async def picture(self, request: Request, key: Key, picture_id: str) -> Picture:
        """Return a picture with its layers; ApiError where it is not there, or other weights drew it."""
        row: Row = found_or_404(await asyncio.to_thread(self._desk.store.gallery.get, key.id, picture_id))
        recipe = Recipe.from_json(row.recipe)
        if dict(recipe.hashes) != dict(self._desk.sumi.model.hashes):
            raise ApiError(409, "other weights drew this picture, so this model cannot draw its layers again")
        async with self._turn:
            if row.id not in self._remembered:
                self._remembered[row.id] = await self._drawn(request, row, recipe)
                if len(self._remembered) > REMEMBERED:
                    self._remembered.popitem(last=False)
            return self._remembered[row.id]

    async def _drawn(self, request: Request, row: Row, recipe: Recipe) -> Picture:
        data = await asyncio.to_thread(self._desk.store.gallery.read, row)
        events = self._desk.sumi.replay(recipe, read_image(io.BytesIO(data), "of the gallery"))
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            if isinstance(event, Picture):
                return event
            if await request.is_disconnected():
                break
        raise ApiError(499, "the client closed the connection before the layers were drawn")


def layers_routes(desk: AppState) -> APIRouter:
    """The routes of layers."""
    routes = APIRouter(prefix="/v1/gallery", tags=["gallery"], responses=RESPONSES)
    drawn = Layers(desk)

    @routes.get("/{picture}/layers", summary="The layers of a picture, from back to front")
    async def layers(request: Request, picture: str, key: Drawer) -> LayerList:
        again = await drawn.picture(request, key, picture)
        cards = await asyncio.to_thread(
            lambda: [LayerCard(prompt=prompt, image=png(image)) for prompt, image in again.layers]
        )
        return LayerList(picture=picture, data=cards)

    @routes.get(
        "/{picture}/openraster", response_class=Response, responses=FILE,
        summary="A picture with its layers as OpenRaster, for Krita, GIMP or MyPaint",
    )  # fmt: skip
    async def stack(request: Request, picture: str, key: Drawer) -> Response:
        again = await drawn.picture(request, key, picture)
        if not again.layers:
            raise ApiError(404, "this picture was drawn in one piece and has no layers", code="no_layers")
        data = await asyncio.to_thread(openraster, again.image, again.layers)
        return Response(data, headers=FILE_HEADERS, media_type=MIMETYPE)

    return routes
