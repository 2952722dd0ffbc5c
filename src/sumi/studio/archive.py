"""Several pictures of the gallery in one zip file."""

from __future__ import annotations

import asyncio
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import StreamingResponse

from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES
from sumi.serving.job_spec import FORMATS
from sumi.serving.jobs_api import FILE_HEADERS
from sumi.serving.middleware import ReadKey
from sumi.serving.schemas import RequestBody
from sumi.store import PictureRow

__all__ = ["routes"]

MOST_PICTURES: Final = 200
IN_MEMORY_BYTES: Final = 8_000_000
BLOCK_BYTES: Final = 1 << 18
ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file", "content": {"application/zip": {"schema": {"type": "string"}}}}
}


class ArchiveBody(RequestBody):
    """POST /v1/gallery/archive: the pictures' ids."""

    pictures: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=MOST_PICTURES)]


def routes(state: AppState) -> APIRouter:
    """Return the route of archives."""
    router = APIRouter(prefix="/v1/gallery", tags=["studio"], responses=RESPONSES)

    @router.post("/archive", response_class=StreamingResponse, responses=ZIP, summary="Pictures in one zip file")
    async def archive(body: ArchiveBody, key: ReadKey) -> StreamingResponse:
        rows = [await state.find_picture(key, name) for name in dict.fromkeys(body.pictures)]
        file = await asyncio.to_thread(pack_zip, state, rows)
        return StreamingResponse(read_blocks(file), headers=FILE_HEADERS, media_type="application/zip")

    return router


def pack_zip(state: AppState, rows: Sequence[PictureRow]) -> IO[bytes]:
    """Return a zip of pictures as an open file at its start; PNGs are compressed already, so the zip is not."""
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 (`blocks` closes it)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, row in zip(name_files(rows), rows, strict=True):
            archive.writestr(name, state.store.gallery.read(row))
    file.seek(0)
    return file


def name_files(rows: Sequence[PictureRow]) -> list[str]:
    """Return a file name for each picture: its prompt and seed, numbered where two are alike."""
    names: list[str] = []
    for row in rows:
        words = re.sub(r"\W+", "-", row.prompt.casefold()).strip("-")[:60] or row.recipe.get("operation", "picture")
        stem, suffix = f"{words}-{row.recipe['seed']}", row.media_type.removeprefix("image/")
        assert suffix in FORMATS
        number = 1
        while (name := f"{stem}{f'-{number}' if number > 1 else ''}.{suffix}") in names:
            number += 1
        names.append(name)
    return names


def read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in blocks, and close it."""
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
