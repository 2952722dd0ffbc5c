"""What CLIP says of texts and of pictures, for searching by meaning and for the embeddings route."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

import torch

from sumi.pipelines import Picture, Sumi
from sumi.pipelines.pixels import from_image

__all__ = ["Embeddings"]

AT_ONCE: Final = 32
"""Texts read together, so that few are in memory."""


class Embeddings:
    """The embeddings of one model; used by one event loop."""

    def __init__(self, sumi: Sumi) -> None:
        self.sumi = sumi
        self._reading = asyncio.Lock()

    @property
    def model(self) -> str:
        """The name of the CLIP that makes them: embeddings of another do not compare."""
        return self.sumi.model.hashes.get("clip", self.sumi.model.name)[:64]

    async def texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the embedding of each text."""
        async with self._reading:
            found = []
            for start in range(0, len(texts), AT_ONCE):
                found += await asyncio.to_thread(self._read, texts[start : start + AT_ONCE])
            return found

    @torch.no_grad()
    def _read(self, some: Sequence[str]) -> list[list[float]]:
        return self.sumi.pipeline.read([self.sumi.as_drawn(text) for text in some]).z_t.float().tolist()

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Picture]) -> list[list[float] | None]:
        """Return the embedding of each picture; None where it has no direction, so that search cannot find it."""
        pipeline = self.sumi.pipeline
        levels = torch.stack([from_image(picture.image, pipeline.size_px) for picture in pictures])
        seen = pipeline.embed(levels).float()
        return [row.tolist() if 0 < row.norm() < math.inf else None for row in seen]
