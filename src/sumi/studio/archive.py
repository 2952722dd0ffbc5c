"""Several pictures of the gallery in one zip file, each under a name of its own."""

from __future__ import annotations

import asyncio
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.responses import StreamingResponse

from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES
from sumi.serving.job_spec import FORMATS
from sumi.serving.jobs_api import FILE_HEADERS, found_or_404
from sumi.serving.middleware import may
from sumi.serving.schemas import RequestBody
from sumi.store import Key
from sumi.store import Picture as Row

__all__ = ["routes"]

MOST_PICTURES: Final = 200
IN_MEMORY_BYTES: Final = 8_000_000
BLOCK_BYTES: Final = 1 << 18
ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {"application/zip": {"schema": {"type": "string"}}}}
}


class ArchiveBody(RequestBody):
    """Which pictures."""

    pictures: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=MOST_PICTURES)]


def routes(desk: AppState) -> APIRouter:
    """Where pictures are taken away together."""
    router = APIRouter(prefix="/v1/gallery", tags=["studio"], responses=RESPONSES)

    @router.post("/archive", response_class=StreamingResponse, responses=ZIP, summary="Pictures in one zip file")
    async def archive(body: ArchiveBody, key: Annotated[Key, Depends(may["read"])]) -> StreamingResponse:
        rows = [
            found_or_404(await asyncio.to_thread(desk.store.gallery.get, key.id, name))
            for name in dict.fromkeys(body.pictures)
        ]
        file = await asyncio.to_thread(packed, desk, rows)
        return StreamingResponse(blocks(file), headers=FILE_HEADERS, media_type="application/zip")

    return router


def packed(desk: AppState, rows: Sequence[Row]) -> IO[bytes]:
    """Return a zip of pictures, which are compressed already, as a file at its start."""
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (`blocks` closes it)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, row in zip(names(rows), rows, strict=True):
            archive.writestr(name, desk.store.gallery.read(row))
    file.seek(0)
    return file


def names(rows: Sequence[Row]) -> list[str]:
    """Return a file's name for each picture: its prompt and seed, numbered where two would be alike."""
    found: list[str] = []
    for row in rows:
        words = re.sub(r"\W+", "-", row.prompt.casefold()).strip("-")[:60] or row.recipe.get("operation", "picture")
        stem, suffix = f"{words}-{row.recipe['seed']}", row.media_type.removeprefix("image/")
        assert suffix in FORMATS
        number = 1
        while (name := f"{stem}{f'-{number}' if number > 1 else ''}.{suffix}") in found:
            number += 1
        found.append(name)
    return found


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file piece by piece, and close it."""
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
