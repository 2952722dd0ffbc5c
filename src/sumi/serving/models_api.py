"""The rest of OpenAI's surface that a model of pictures can answer: models, embeddings, moderations, provenance.

Embeddings are CLIP's of a text: the nearer to a picture's, the better the picture fits. Moderations are those of the
word policy in `trust`. Provenance says whether a file carries a recipe of Sumi's, and proves nothing: anybody can
write one, or take it out.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request

from sumi.pipelines.checks import check_text
from sumi.pipelines.prompt import clean
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError, PlainJSON
from sumi.serving.middleware import may
from sumi.serving.openai_api import read_form, single_image
from sumi.serving.schemas import EmbeddingBody, ImagePart, ModerationBody, TextPart, VariationForm
from sumi.store import Key
from sumi.trust import check_words

__all__ = ["models_routes"]

Reader = Annotated[Key, Depends(may["read"])]
MOST_TEXTS: Final = 256


class ModelCard(BaseModel):
    """A model that is here."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "sumi"
    sizes: list[str]
    operations: list[str]


class ModelList(BaseModel):
    """All of them."""

    object: str = "list"
    data: list[ModelCard]


class EmbeddingRow(BaseModel):
    """One text's embedding: numbers, or base64 of float32, little-endian."""

    object: str = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Words read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The answer of embeddings."""

    object: str = "list"
    model: str
    data: list[EmbeddingRow]
    usage: EmbeddingUsage


class ModerationRow(BaseModel):
    """What the policy says of one input."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationReply(BaseModel):
    """The answer of moderations."""

    id: str
    model: str
    results: list[ModerationRow]


class ProvenanceReply(BaseModel):
    """The answer of content_provenance_checks: C2PA and SynthID, which we do not read, and our own recipe."""

    object: str = "content_provenance_check"
    created_at: int
    results: list[dict[str, Any]]


def models_routes(desk: AppState) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["models"], responses=RESPONSES)
    started = int(time.time())

    def card() -> ModelCard:
        sizes = [f"{side}x{side}" for side in desk.sumi.sizes]
        return ModelCard(id=desk.sumi.model.name, created=started, sizes=sizes, operations=list(desk.sumi.operations))

    @routes.get("/models", summary="List the models that are here")
    async def models(key: Reader) -> ModelList:
        return ModelList(data=[card()])

    @routes.get("/models/{model}", summary="One of them, by its name or another that means it")
    async def model(model: str, key: Reader) -> ModelCard:
        desk.check_model(model)
        return card()

    @routes.post("/embeddings", response_model=EmbeddingList, summary="CLIP's embeddings of texts")
    async def embeddings(body: EmbeddingBody, key: Reader) -> PlainJSON:
        name = desk.check_model(body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        for text in texts:
            check_text("input", text)
            if not clean(text):
                raise ApiError(400, "input: a text says nothing", param="input", code="invalid_value")
        found = await desk.service.embeddings.texts([clean(text) for text in texts])
        size = len(found[0])
        if body.dimensions not in (None, size):
            raise ApiError(400, f"embeddings of this model have {size} dimensions", param="dimensions")
        words = sum(len(text.split()) for text in texts)
        plain = body.encoding_format != "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": row if plain else base64_embedding(row)}
            for index, row in enumerate(found)
        ]
        usage = {"prompt_tokens": words, "total_tokens": words}
        return PlainJSON({"object": "list", "model": name, "data": rows, "usage": usage})

    @routes.post("/moderations", summary="What the word policy says of texts")
    async def moderations(body: ModerationBody, key: Reader) -> ModerationReply:
        name = desk.check_model(body.model)
        parts = [body.input] if isinstance(body.input, str) else body.input
        rows = await asyncio.to_thread(lambda: [moderation_row(part) for part in parts])
        if any(isinstance(part, ImagePart | TextPart) for part in parts):  # parts are one input, strings are several
            rows = [merge_rows(rows)]
        return ModerationReply(id=f"modr-{uuid4().hex}", model=name, results=rows)

    @routes.post(
        "/content_provenance_checks", summary="Whether a picture says that it is of ours",
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
            "type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"],
        }}}}},
    )  # fmt: skip
    async def content_provenance_checks(request: Request, key: Reader) -> ProvenanceReply:
        _, files = await read_form(request, VariationForm, ("file",))
        file = await desk.uploads.open(single_image(files["file"], "file"), "file")
        absent = {"outcome": "not_detected"}
        own = {"type": "sumi_recipe", "outcome": "detected" if file.recipe else "not_detected", **(file.recipe or {})}
        results = [
            {"type": "c2pa", **absent, "validation_state": "not_present"},
            {"type": "synthid", **absent},
            own,
        ]
        return ProvenanceReply(created_at=int(time.time()), results=results)

    return routes


def base64_embedding(row: list[float]) -> str:
    """Base64 of float32, little-endian, as OpenAI's clients unpack it."""
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()


def moderation_row(part: str | TextPart | ImagePart) -> ModerationRow:
    """What the policy says of one piece; of a picture it says nothing."""
    text = part if isinstance(part, str) else part.text if isinstance(part, TextPart) else None
    verdict = check_words(text or "")
    kinds: dict[str, list[str]] = {name: [] if text is None else ["text"] for name in verdict.scores}
    return ModerationRow(
        flagged=verdict.flagged, categories=verdict.categories, category_scores=dict(verdict.scores),
        category_applied_input_types=kinds,
    )  # fmt: skip


def merge_rows(rows: list[ModerationRow]) -> ModerationRow:
    """The rows of the pieces of one input as one."""
    names = rows[0].categories
    return ModerationRow(
        flagged=any(row.flagged for row in rows),
        categories={name: any(row.categories[name] for row in rows) for name in names},
        category_scores={name: max(row.category_scores[name] for row in rows) for name in names},
        category_applied_input_types={
            name: sorted({kind for row in rows for kind in row.category_applied_input_types[name]}) for name in names
        },
    )
