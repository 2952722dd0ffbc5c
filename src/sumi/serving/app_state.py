"""What the routes of one application share: the service, the store, the uploads, and checks that several routes do."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from PIL import Image

from sumi.imaging.image_file import read_image
from sumi.pipelines import Artist
from sumi.pipelines.recipe import Recipe
from sumi.serving.errors import ApiError
from sumi.serving.job_spec import JobSpec
from sumi.serving.metrics import TrafficCounter
from sumi.serving.schemas import ImageReference
from sumi.serving.service import Service
from sumi.serving.signed_urls import SignedUrls
from sumi.serving.teaching_runs import TeachingRuns
from sumi.serving.uploads import Upload, Uploads, decode_data_url
from sumi.store import Key, PictureRow, Store

__all__ = ["AppState", "require_found"]

ALIASES: Final = re.compile(
    r"(?:openai/)?(?:clip|dall-e|(?:chat)?gpt-image|text-(?:embedding|similarity|search)|(?:omni|text)-moderation)"
    r"(?:[-.][\w.-]*)?",
    re.ASCII | re.IGNORECASE,
)
"""Model names that programs written for OpenAI send; they mean the model that is loaded."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class AppState:
    """Shared by the routes of one application."""

    service: Service
    store: Store
    uploads: Uploads
    links: SignedUrls
    traffic: TrafficCounter
    teaching: TeachingRuns

    @property
    def sumi(self) -> Artist:
        """The model."""
        return self.service.sumi

    def check_model(self, name: str | None) -> str:
        """Return the name of the loaded model; ApiError (404) for a name that is neither its own nor an alias."""
        own = self.sumi.model.name
        if name is None or name in (own, "sumi") or ALIASES.fullmatch(name):
            return own
        raise ApiError(
            404, f"there is no model {ascii(name)[:80]}: this server has {own}", param="model", code="model_not_found"
        )

    async def check_prompt(self, key: Key, moderation: str | None, *texts: str) -> None:
        """Check texts against the policy; ApiError where it holds one back.

        moderation: "low" checks only the rules that apply everywhere.
        """
        await asyncio.to_thread(self.service.moderation.check_texts, key.id, moderation, *texts)

    async def find_picture(self, key: Key, picture_id: str) -> PictureRow:
        """Return a picture of a key's gallery; ApiError (404) where it is not there."""
        row = await asyncio.to_thread(self.store.gallery.get, key.id, picture_id)
        return require_found(row)

    async def open_picture(self, row: PictureRow) -> Image.Image:
        """Return a picture of the gallery as an image."""
        data = await self.service.read(row)
        return await asyncio.to_thread(read_image, io.BytesIO(data), "of the gallery")

    async def charge_redraw(self, key: Key, recipe: Recipe, times: int = 1) -> None:
        """Charge a key's daily allowance for drawing a picture again, outside of a job.

        Args:
            key: who pays.
            recipe: the picture's recipe.
            times: how often it is drawn.

        Raises:
            OverLimitError: the allowance is used up.
        """
        task = recipe.request()
        if task.steps is None and recipe.stages:
            decoder = recipe.stages.get("decoder") or next(iter(recipe.stages.values()))
            task = replace(task, steps=decoder.steps)
        await asyncio.to_thread(self.store.keys.charge, key, times * JobSpec(task).pixel_steps(self.sumi))

    async def open_upload(self, key: Key, sent: bytes | ImageReference, name: str) -> Upload:
        """Open a picture that came as a file, or that a JSON body refers to.

        Args:
            key: whose gallery a reference may name.
            sent: the file's bytes, or the reference.
            name: the parameter that names it in errors.

        Raises:
            ApiError: the gallery has no such picture.
            SumiError: it is no picture, or too large.
        """
        if isinstance(sent, bytes):
            data = sent
        elif sent.image_url is not None:
            data = await asyncio.to_thread(decode_data_url, sent.image_url, f"{name}: image_url")
        else:
            row = await asyncio.to_thread(self.store.gallery.get, key.id, sent.picture or "")
            if row is None:
                raise ApiError(404, "no picture has that id", param=name)
            data = await asyncio.to_thread(self.store.gallery.read, row)
        upload = await self.uploads.open(data, name)
        await self.check_upload(key, upload)
        return upload

    async def check_upload(self, key: Key, upload: Upload) -> None:
        """Show a picture to the policy's checkers; ApiError where one holds it back."""
        if self.service.moderation.checkers:
            image = await asyncio.to_thread(read_image, io.BytesIO(upload.png), "that was sent")
            await asyncio.to_thread(self.service.moderation.check_pictures, key.id, "input", [image])


def require_found(found: Found | None) -> Found:
    """Return what a query found; ApiError (404) where it found nothing, or another key's."""
    if found is None:
        raise ApiError(404, "no object has that id")
    return found
