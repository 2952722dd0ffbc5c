"""What every route may need, in one place: the service, the store, the uploads, the links, and what is refused."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from sumi.pipelines import Artist
from sumi.serving.errors import ApiError, moderation_blocked
from sumi.serving.middleware import TrafficCounter
from sumi.serving.schemas import ImageReference
from sumi.serving.service import Service
from sumi.serving.signed_urls import SignedUrls
from sumi.serving.uploads import Upload, Uploads, from_data_url
from sumi.store import Key, Store
from sumi.trust import check_words

__all__ = ["AppState"]

ALIASES: Final = re.compile(
    r"(?:openai/)?(?:clip|dall-e|(?:chat)?gpt-image|text-(?:embedding|similarity|search)|(?:omni|text)-moderation)"
    r"(?:[-.][\w.-]*)?",
    re.ASCII | re.IGNORECASE,
)
"""Names by which programs written for OpenAI ask; here they mean the model that there is."""


@dataclass(frozen=True)
class AppState:
    """Shared by the routes of one application."""

    service: Service
    store: Store
    uploads: Uploads
    links: SignedUrls
    traffic: TrafficCounter

    @property
    def sumi(self) -> Artist:
        """The model."""
        return self.service.sumi

    def check_model(self, name: str | None) -> str:
        """Return the name of the model that is meant; 404 for one that is not here."""
        own = self.sumi.model.name
        if name is None or name in (own, "sumi") or ALIASES.fullmatch(name):
            return own
        raise ApiError(
            404, f"there is no model {ascii(name)[:80]}: this is {own}", param="model", code="model_not_found"
        )

    def check_prompt(self, moderation: str | None, *texts: str) -> None:
        """Hold what is asked for against the policy; `low` leaves only the categories that are never drawn."""
        verdicts = [check_words(text) for text in texts]
        if any(verdict.never if moderation == "low" else verdict.flagged for verdict in verdicts):
            raise moderation_blocked()

    async def opened(self, key: Key, sent: bytes | ImageReference, name: str) -> Upload:
        """Open a picture that came as a file, or that a body refers to."""
        return await (self.uploads.open(sent, name) if isinstance(sent, bytes) else self.referred(key, sent, name))

    async def referred(self, key: Key, image: ImageReference, name: str) -> Upload:
        """Open a picture that a body refers to; ApiError or SumiError for one that is not there, or is none."""
        if image.image_url is not None:
            data = await asyncio.to_thread(from_data_url, image.image_url, f"{name}: image_url")
            return await self.uploads.open(data, name)
        row = await asyncio.to_thread(self.store.gallery.get, key.id, image.picture or "")
        if row is None:
            raise ApiError(404, "there is no picture of that id", param=name)
        return await self.uploads.open(await asyncio.to_thread(self.store.gallery.read, row), name)
