"""A picture on its way from the engine into the store: the file, and the row that will refer to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sumi.store.schema import Job, PictureRow, check_plain_text
from sumi.store.search_index import fold_words, pack

__all__ = ["NewPicture", "make_picture_row"]


@dataclass(frozen=True)
class NewPicture:
    """A finished picture.

    Attributes:
        data: the file's bytes.
        media_type: such as image/png.
        width_px, height_px: its size.
        prompt: the text that search finds it by.
        recipe: how it was drawn, as JSON values.
        embedding: CLIP's embedding, of any length.
        embedded_by: which CLIP made the embedding.
        fingerprint: its perceptual hash.
    """

    data: bytes = field(repr=False)
    media_type: str
    width_px: int
    height_px: int
    prompt: str
    recipe: Mapping[str, Any]
    embedding: Sequence[float] | None = None
    embedded_by: str | None = None
    fingerprint: bytes | None = None


def make_picture_row(job: Job, position: int, picture: NewPicture, digest: str, now: float) -> PictureRow:
    """Return the row of a job's picture. position: its number within the job; digest: sha256 of its file."""
    return PictureRow(
        id=f"pic_{hashlib.sha256(f'{job.id}/{position}'.encode()).hexdigest()[:32]}",  # the same when drawn again
        job_id=job.id,
        key_id=job.key_id,
        position=position,
        digest=digest,
        media_type=picture.media_type,
        width_px=picture.width_px,
        height_px=picture.height_px,
        size_bytes=len(picture.data),
        prompt=check_plain_text(picture.prompt, "the prompt"),
        words=fold_words(picture.prompt),
        recipe=dict(picture.recipe),
        created_at=now,
        embedding=None if picture.embedding is None else pack(picture.embedding),
        embedded_by=picture.embedded_by,
        fingerprint=picture.fingerprint,
    )
