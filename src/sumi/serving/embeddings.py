"""What CLIP says of texts and of pictures, for searching by meaning and for the embeddings route."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from sumi.pipelines import Artist, Picture

__all__ = ["Embeddings"]

AT_ONCE: Final = 32
"""Texts read together, so that few are in memory."""


class Embeddings:
    """The embeddings of one model; used by one event loop."""

    def __init__(self, sumi: Artist) -> None:
        self.sumi = sumi
        self._reading = asyncio.Lock()

    @property
    def model(self) -> str | None:
        """The name of the CLIP that makes them: embeddings of another do not compare. None where there is no CLIP."""
        name = self.sumi.embeds_with
        return None if name is None else name[:64]

    async def texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text."""
        async with self._reading:
            found = []
            for start in range(0, len(texts), AT_ONCE):
                found += await asyncio.to_thread(self._read, texts[start : start + AT_ONCE])
            return found

    def _read(self, some: Sequence[str]) -> list[list[float]]:
        return self.sumi.embed_texts([self.sumi.as_drawn(text) for text in some]).tolist()

    def pictures(self, pictures: Sequence[Picture]) -> list[list[float] | None]:
        """Return the embedding of each picture; None where it has no direction, so that search cannot find it."""
        if self.model is None:
            return [None] * len(pictures)
        seen = self.sumi.embed_images(pictures)
        return [row.tolist() if 0 < row.norm() < math.inf else None for row in seen]
