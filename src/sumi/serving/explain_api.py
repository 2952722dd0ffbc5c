"""What a picture of the gallery can be asked: which word drew which part of it, and which drawings it is nearest to.

Both follow from the picture and the model alone, so they are read and not ordered as jobs are. Explaining draws, beside
the engine and one at a time, needs the scope of those who draw, and is charged to the key as what it draws.
"""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from PIL import Image
from pydantic import BaseModel
from starlette.requests import Request

from sumi.explain.heatmap import heat
from sumi.explain.nearest_drawings import MOST_NEAREST
from sumi.explain.prompt_words import without_word
from sumi.imaging.image_file import read_image
from sumi.imaging.pixels import to_image
from sumi.pipelines.explanation import Explanation, Neighbor
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe
from sumi.serving.app_state import AppState
from sumi.serving.beside import drawn_beside
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.job_spec import JobSpec, OutputFormat, image_bytes
from sumi.serving.jobs_api import found_or_404
from sumi.serving.middleware import may
from sumi.store import Key
from sumi.store import Picture as Row

__all__ = ["evidence_routes"]

HEAT_PX = 256


class WordCard(BaseModel):
    """A word: its share of all that words change, where it acted, and the picture drawn without it, PNG in base64."""

    word: str
    share: float
    heat: str
    without: str


class WordList(BaseModel):
    """The words of a picture's prompt, in order."""

    object: str = "list"
    picture: str
    prompt: str
    data: list[WordCard]


class NearCard(BaseModel):
    """A drawing that taught the model, whose it is, how near it is, and a thumbnail, PNG in base64."""

    concept: str
    person: str
    icon: str
    source: str
    version: str
    licence: str
    author: str
    url: str
    cosine: float
    distance: float
    thumbnail: str


class NearList(BaseModel):
    """The drawings nearest to a picture, nearest first by CLIP; the nearest by pixels is among them."""

    object: str = "list"
    picture: str
    data: list[NearCard]


def evidence_routes(desk: AppState) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/gallery", tags=["gallery"], responses=RESPONSES)
    turn = asyncio.Semaphore(1)

    @routes.get("/{picture}/words", summary="Which word of its prompt drew which part of a picture")
    async def words(request: Request, picture: str, key: Annotated[Key, Depends(may["draw"])]) -> WordList:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, picture))
        recipe = Recipe.from_json(row.recipe)
        work, words = desk.sumi.work_explained(recipe), len(list(without_word(clean(recipe.prompt))))
        cost = JobSpec(recipe.request()).pixel_steps(desk.sumi) * (1 + words)  # the picture, and once without each word
        await asyncio.to_thread(desk.store.keys.charge, key, cost)
        async with turn:
            explanation = await drawn_beside(request, desk.service, work)
        cards = await asyncio.to_thread(word_cards, explanation)
        return WordList(picture=picture, prompt=recipe.prompt, data=cards)

    @routes.get("/{picture}/nearest", summary="The drawings that taught the model which are nearest to a picture")
    async def nearest(
        picture: str,
        key: Annotated[Key, Depends(may["read"])],
        k: Annotated[int, Query(ge=1, le=MOST_NEAREST)] = 6,
    ) -> NearList:
        row = found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, picture))
        cards = await asyncio.to_thread(near_cards, desk, row, k)
        return NearList(picture=picture, data=cards)

    return routes


def word_cards(explanation: Explanation) -> list[WordCard]:
    """The words of an explanation."""
    return [
        WordCard(
            word=word.text, share=round(word.share, 6), heat=png(heat(explanation, word, HEAT_PX)),
            without=png(to_image(word.without)),
        )
        for word in explanation.words
    ]  # fmt: skip


def near_cards(desk: AppState, row: Row, k: int) -> list[NearCard]:
    """The drawings nearest to a picture; 404 where the model carries none."""
    drawings = desk.sumi.drawings()
    if drawings is None:
        raise ApiError(404, "this model carries none of the drawings that taught it", code="no_drawings")
    image = read_image(io.BytesIO(desk.store.gallery.read(row)), "of the gallery")
    return [near_card(near) for near in desk.sumi.nearest(image, min(k, len(drawings.rows)))]


def near_card(near: Neighbor) -> NearCard:
    """One drawing."""
    said: dict[str, Any] = dict(near.row)
    thumbnail = png(to_image(near.picture))
    return NearCard(**said, cosine=round(near.cosine, 6), distance=round(near.distance, 6), thumbnail=thumbnail)


def png(image: Image.Image) -> str:
    """A picture as PNG in base64."""
    return base64.b64encode(image_bytes(image, OutputFormat())).decode()
