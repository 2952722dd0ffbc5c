"""A picture on its way from the engine into the store: the file, and the row that will refer to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sumi.store.schema import Job, Picture, plain_text
from sumi.store.search_index import fold_words, pack

__all__ = ["Drawn", "row_of"]


@dataclass(frozen=True)
class Drawn:
    """A picture as it comes from the engine: the file's bytes, its recipe, and what CLIP sees in it (any length)."""

    data: bytes = field(repr=False)
    media_type: str
    width_px: int
    height_px: int
    prompt: str
    recipe: Mapping[str, Any]
    embedding: Sequence[float] | None = None
    embedded_by: str | None = None


def row_of(job: Job, position: int, drawn: Drawn, digest: str, now: float) -> Picture:
    """Return the row of a picture of a job."""
    return Picture(
        id=f"pic_{hashlib.sha256(f'{job.id}/{position}'.encode()).hexdigest()[:32]}",  # the same when drawn again
        job_id=job.id,
        key_id=job.key_id,
        position=position,
        digest=digest,
        media_type=drawn.media_type,
        width_px=drawn.width_px,
        height_px=drawn.height_px,
        size_bytes=len(drawn.data),
        prompt=plain_text(drawn.prompt, "the prompt"),
        words=fold_words(drawn.prompt),
        recipe=dict(drawn.recipe),
        created_at=now,
        embedding=None if drawn.embedding is None else pack(drawn.embedding),
        embedded_by=drawn.embedded_by,
    )
