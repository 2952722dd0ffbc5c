"""Explanations of a picture of the gallery: which word drew which part, and the training drawings nearest to it.

Both follow from the picture and the model alone, so clients read them and submit no job. Explaining draws: it runs
outside the engine, one picture at a time, needs the scope `draw`, and is charged to the key as a job is.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from sumi.explain.heatmap import heat
from sumi.explain.nearest_drawings import MOST_NEAREST
from sumi.explain.prompt_words import without_word
from sumi.imaging.pixels import to_image
from sumi.pipelines.explanation import Explanation, Neighbor
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.job_spec import encode_base64
from sumi.serving.middleware import DrawKey, ReadKey
from sumi.serving.outside_engine import run_outside_engine

__all__ = ["explain_routes"]

HEATMAP_PX: Final = 256


class WordCard(BaseModel):
    """A word: its share of all change, a heat map of where it acted, and the picture without it; PNG in base64."""

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
    """A training drawing: what it is and whose, how near it is, and a thumbnail, PNG in base64."""

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
    """The training drawings nearest to a picture by CLIP; the nearest by pixels is always among them."""

    object: str = "list"
    picture: str
    data: list[NearCard]


def explain_routes(state: AppState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/gallery", tags=["gallery"], responses=RESPONSES)
    lock = asyncio.Lock()

    @routes.get("/{picture}/words", summary="Which word of its prompt drew which part of a picture")
    async def words(request: Request, picture: str, key: DrawKey) -> WordList:
        row = await state.find_picture(key, picture)
        recipe = Recipe.from_json(row.recipe)
        work, num_words = state.sumi.work_explained(recipe), len(list(without_word(clean(recipe.prompt))))
        await state.charge_redraw(key, recipe, times=1 + num_words)  # the picture, and once without each word
        async with lock:
            explanation = await run_outside_engine(request, state.service, work)
        cards = await asyncio.to_thread(make_word_cards, explanation)
        return WordList(picture=picture, prompt=recipe.prompt, data=cards)

    @routes.get("/{picture}/nearest", summary="The training drawings nearest to a picture")
    async def nearest(picture: str, key: ReadKey, k: Annotated[int, Query(ge=1, le=MOST_NEAREST)] = 6) -> NearList:
        row = await state.find_picture(key, picture)
        drawings = state.sumi.drawings()
        if drawings is None:
            raise ApiError(404, "this model carries no training drawings", code="no_drawings")
        image = await state.open_picture(row)
        found = await asyncio.to_thread(state.sumi.nearest, image, min(k, len(drawings.rows)))
        return NearList(picture=picture, data=[make_near_card(neighbor) for neighbor in found])

    return routes


def make_word_cards(explanation: Explanation) -> list[WordCard]:
    """Return the words of an explanation."""
    return [
        WordCard(
            word=word.text, share=round(word.share, 6), heat=encode_base64(heat(explanation, word, HEATMAP_PX)),
            without=encode_base64(to_image(word.without)),
        )
        for word in explanation.words
    ]  # fmt: skip


def make_near_card(neighbor: Neighbor) -> NearCard:
    """Return one training drawing."""
    row: dict[str, Any] = dict(neighbor.row)
    thumbnail = encode_base64(to_image(neighbor.picture))
    return NearCard(**row, cosine=round(neighbor.cosine, 6), distance=round(neighbor.distance, 6), thumbnail=thumbnail)
