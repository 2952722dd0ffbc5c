"""The rest of OpenAI's API that a model of pictures can answer: models, embeddings and moderations.

Embeddings are CLIP's, of texts: the nearer to a picture's embedding, the better the picture fits. Moderations come from
the word policy in `trust`.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel

from sumi.pipelines.checks import check_text
from sumi.pipelines.prompt import clean
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError, PlainJSON
from sumi.serving.middleware import ReadKey
from sumi.serving.schemas import EmbeddingBody, ImagePart, ModerationBody, TextPart
from sumi.trust import check_words

__all__ = ["models_routes"]


class ModelCard(BaseModel):
    """A model: the sizes that it draws, its operations, and what else it can do (explain, layers, nearest, search)."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "sumi"
    sizes: list[str]
    operations: list[str]
    features: list[str]


class ModelList(BaseModel):
    """All models."""

    object: str = "list"
    data: list[ModelCard]


class EmbeddingRow(BaseModel):
    """The embedding of one text: numbers, or base64 of float32, little-endian."""

    object: str = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Number of words."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The reply of embeddings."""

    object: str = "list"
    model: str
    data: list[EmbeddingRow]
    usage: EmbeddingUsage


class ModerationRow(BaseModel):
    """The result for one input."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationReply(BaseModel):
    """The reply of moderations."""

    id: str
    model: str
    results: list[ModerationRow]


def models_routes(state: AppState) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["models"], responses=RESPONSES)
    started = int(time.time())

    def card() -> ModelCard:
        sumi = state.sumi
        sizes = [f"{side}x{side}" for side in sumi.sizes]
        return ModelCard(
            id=sumi.model.name, created=started, sizes=sizes, operations=list(sumi.operations),
            features=list(sumi.features),
        )  # fmt: skip

    @routes.get("/models", summary="List the models")
    async def models(key: ReadKey) -> ModelList:
        return ModelList(data=[await asyncio.to_thread(card)])

    @routes.get("/models/{model}", summary="A model, by its name or an alias")
    async def model(model: str, key: ReadKey) -> ModelCard:
        state.check_model(model)
        return await asyncio.to_thread(card)

    @routes.post("/embeddings", response_model=EmbeddingList, summary="CLIP's embeddings of texts")
    async def embeddings(body: EmbeddingBody, key: ReadKey) -> PlainJSON:
        name = state.check_model(body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        for text in texts:
            check_text("input", text)
            if not clean(text):
                raise ApiError(400, "input: a text is empty", param="input", code="invalid_value")
        vectors = await state.service.embeddings.texts([clean(text) for text in texts])
        size = len(vectors[0])
        if body.dimensions not in (None, size):
            raise ApiError(400, f"embeddings of this model have {size} dimensions", param="dimensions")
        words = sum(len(text.split()) for text in texts)
        is_float = body.encoding_format != "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": row if is_float else encode_embedding(row)}
            for index, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": words, "total_tokens": words}
        return PlainJSON({"object": "list", "model": name, "data": rows, "usage": usage})

    @routes.post("/moderations", summary="Check texts against the word policy")
    async def moderations(body: ModerationBody, key: ReadKey) -> ModerationReply:
        name = state.check_model(body.model)
        parts = [body.input] if isinstance(body.input, str) else body.input
        rows = await asyncio.to_thread(lambda: [moderate_part(part) for part in parts])
        if any(isinstance(part, ImagePart | TextPart) for part in parts):  # parts are one input, strings are several
            rows = [merge_rows(rows)]
        return ModerationReply(id=f"modr-{uuid4().hex}", model=name, results=rows)

    return routes


def encode_embedding(row: list[float]) -> str:
    """Return base64 of float32, little-endian, as OpenAI's clients decode it."""
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()


def moderate_part(part: str | TextPart | ImagePart) -> ModerationRow:
    """Return the policy's result for one part; a picture is never flagged."""
    text = part if isinstance(part, str) else part.text if isinstance(part, TextPart) else None
    result = check_words(text or "")
    kinds: dict[str, list[str]] = {name: [] if text is None else ["text"] for name in result.scores}
    return ModerationRow(
        flagged=result.flagged, categories=result.categories, category_scores=dict(result.scores),
        category_applied_input_types=kinds,
    )  # fmt: skip


def merge_rows(rows: list[ModerationRow]) -> ModerationRow:
    """Return the results of the parts of one input as one result."""
    names = rows[0].categories
    return ModerationRow(
        flagged=any(row.flagged for row in rows),
        categories={name: any(row.categories[name] for row in rows) for name in names},
        category_scores={name: max(row.category_scores[name] for row in rows) for name in names},
        category_applied_input_types={
            name: sorted({kind for row in rows for kind in row.category_applied_input_types[name]}) for name in names
        },
    )
