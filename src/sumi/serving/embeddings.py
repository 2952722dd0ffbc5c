"""CLIP's embeddings of texts and pictures, for search by meaning and for the embeddings route."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from sumi.pipelines import Artist, Picture

__all__ = ["Embeddings"]

BATCH_SIZE: Final = 32


class Embeddings:
    """The embeddings of one model; used by one event loop."""

    def __init__(self, sumi: Artist) -> None:
        self.sumi = sumi
        self._lock = asyncio.Lock()

    @property
    def model(self) -> str | None:
        """The hash of the CLIP; embeddings of different CLIPs do not compare. None for a model without one."""
        name = self.sumi.embeds_with
        return None if name is None else name[:64]

    async def texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text."""
        async with self._lock:
            embeddings = []
            for start in range(0, len(texts), BATCH_SIZE):
                embeddings += await asyncio.to_thread(self._read, texts[start : start + BATCH_SIZE])
            return embeddings

    def _read(self, texts: Sequence[str]) -> list[list[float]]:
        return self.sumi.embed_texts([self.sumi.as_drawn(text) for text in texts]).tolist()

    def pictures(self, pictures: Sequence[Picture]) -> list[list[float] | None]:
        """Return the embedding of each picture; None where it has no direction, so search never finds that picture."""
        if self.model is None:
            return [None] * len(pictures)
        embeddings = self.sumi.embed_images(pictures)
        return [row.tolist() if 0 < row.norm() < math.inf else None for row in embeddings]
