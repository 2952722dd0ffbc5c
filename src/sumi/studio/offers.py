"""What the page offers for a model: example prompts and styles that the model knows, and the bounds of settings.

A model of another system may know few words or none. What it would not draw as written is not offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel

from sumi.errors import SumiError
from sumi.pipelines import Artist, Request
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES
from sumi.serving.middleware import ReadKey

__all__ = ["EXAMPLES", "STYLES", "Offers", "make_offers", "routes"]

EXAMPLES: Final = (
    "a red fox",
    "a penguin wearing a top hat",
    "two ghosts and a pumpkin",
    "an astronaut riding a horse",
    "five stars on a purple background",
    "a green dragon",
)
STYLES: Final[Mapping[str, str]] = {
    "pencil drawing": "{}, pencil drawing",
    "watercolour": "a watercolour of {}",
    "neon": "{}, neon",
    "silhouette": "{}, silhouette",
    "mosaic": "{}, mosaic",
    "white outline": "{}, white outline",
}
"""Each style by its name, with {} for the prompt."""
STYLED: Final = "a fox"


class Offers(BaseModel):
    """Example prompts, styles with {} for the prompt, and the least and largest value of each numeric setting."""

    examples: list[str]
    styles: dict[str, str]
    bounds: dict[str, tuple[float, float]]


def make_offers(sumi: Artist) -> Offers:
    """Return the examples and styles that a model draws as they are written."""
    return Offers(
        examples=[text for text in EXAMPLES if knows(sumi, text)],
        styles={name: style for name, style in STYLES.items() if knows(sumi, style.format(STYLED))},
        bounds=setting_bounds(),
    )


def setting_bounds() -> dict[str, tuple[float, float]]:
    """Return the least and largest value of each numeric setting of a request."""
    return {
        name: (option.minimum, option.maximum)
        for name, option in Request.schema().items()
        if option.kind in (int, float) and option.minimum is not None and option.maximum is not None
    }


def knows(sumi: Artist, prompt: str) -> bool:
    """Return whether a model draws a prompt as it is written."""
    try:
        task = Request(prompt)
        sumi.work(task).close()
        return not sumi.notes(task)
    except SumiError:
        return False


def routes(state: AppState) -> APIRouter:
    """Return the route of the offers."""
    router = APIRouter(prefix="/v1/studio", tags=["studio"], responses=RESPONSES)

    @router.get("/offers", summary="Example prompts, styles and bounds of settings for this model")
    async def offers(key: ReadKey) -> Offers:
        return await asyncio.to_thread(make_offers, state.sumi)

    return router
