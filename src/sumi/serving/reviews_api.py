"""The review queue: what the policy holds back until a person has decided.

GET  /v1/reviews           newest first; a key sees its own, an admin those of all keys
GET  /v1/reviews/{id}/picture
POST /v1/reviews/{id}      {"approved": true}; needs the scope admin, or a server for this machine alone
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from sumi.serving.app_state import AppState, require_found
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.jobs_api import FILE_RESPONSE, visible_key_id
from sumi.serving.middleware import ReadKey
from sumi.serving.schemas import RequestBody
from sumi.store import LOCAL, Key, Review

__all__ = ["reviews_routes"]


class ReviewCard(BaseModel):
    """A text or picture that is held back, with the codes of the rules that hold it back."""

    id: str
    object: str = "review"
    key: str
    subject: Literal["prompt", "input", "output"]
    status: Literal["pending", "approved", "rejected"]
    text: str
    reasons: list[dict[str, Any]]
    created_at: float
    decided_at: float | None


class ReviewList(BaseModel):
    """A page of reviews, the newest first."""

    object: str = "list"
    data: list[ReviewCard]
    has_more: bool


class DecisionBody(RequestBody):
    """POST /v1/reviews/{review}."""

    approved: bool


def reviews_routes(state: AppState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/reviews", tags=["reviews"], responses=RESPONSES)
    reviews = state.store.reviews

    @routes.get("", summary="List what is held back for a person to look at")
    async def list_reviews(
        key: ReadKey,
        status: Literal["pending", "approved", "rejected"] | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str | None, Query(max_length=40)] = None,
    ) -> ReviewList:
        page = await asyncio.to_thread(reviews.page, visible_key_id(key), status, limit, after)
        return ReviewList(data=list(map(make_review_card, page.items)), has_more=page.has_more)

    @routes.get(
        "/{review}/picture", responses=FILE_RESPONSE, response_class=Response,
        summary="The picture that is held back, at most 256 px",
    )  # fmt: skip
    async def picture(review: str, key: ReadKey) -> Response:
        await find_review(state, key, review)
        data = require_found(await asyncio.to_thread(reviews.picture, review))
        return Response(data, media_type="image/png")

    @routes.post("/{review}", summary="Approve or reject")
    async def decide(review: str, body: DecisionBody, key: ReadKey) -> ReviewCard:
        if "admin" not in key.scopes and key.id != LOCAL:
            raise ApiError(403, "this needs a key with the scope admin")
        await find_review(state, key, review)
        return make_review_card(require_found(await asyncio.to_thread(reviews.decide, review, body.approved)))

    return routes


async def find_review(state: AppState, key: Key, review_id: str) -> Review:
    """Return a review that a key may see; ApiError (404) where it is not there."""
    found = require_found(await asyncio.to_thread(state.store.reviews.get, review_id))
    return require_found(found if visible_key_id(key) in (None, found.key_id) else None)


def make_review_card(review: Review) -> ReviewCard:
    """Return a review without its picture."""
    return ReviewCard.model_validate({
        "id": review.id, "key": review.key_id, "subject": review.subject, "status": review.status,
        "text": review.text, "reasons": review.reasons, "created_at": review.created_at,
        "decided_at": review.decided_at,
    })  # fmt: skip
