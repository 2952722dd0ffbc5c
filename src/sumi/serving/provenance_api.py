"""Where a picture comes from: OpenAI's route, with what we know besides.

    file -> sandbox -> C2PA manifest, recipe -> {"results": [c2pa, synthid, sumi_recipe, sumi_watermark, sumi_gallery]}

None of it proves anything: anybody can remove a mark, write a recipe into a file, or sign one with a key of his own.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from sumi.imaging.image_file import read_image
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES
from sumi.serving.middleware import ReadKey
from sumi.serving.openai_api import read_form, require_single_image
from sumi.serving.schemas import VariationForm
from sumi.trust.fingerprint import NEAR, make_fingerprint
from sumi.trust.watermark import detect_watermark, find_key

__all__ = ["provenance_routes"]

DETECTED, NOT_DETECTED = "detected", "not_detected"
FILE_BODY: Final = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
        "type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"],
    }}}},
}  # fmt: skip


class ProvenanceReply(BaseModel):
    """The reply: C2PA and SynthID, which we do not read, as OpenAI reports them; then what is our own."""

    object: str = "content_provenance_check"
    created_at: int
    results: list[dict[str, Any]]


def provenance_routes(state: AppState) -> APIRouter:
    """Return the route."""
    searching = asyncio.Semaphore(1)  # looking for the watermark takes a second of one core
    routes = APIRouter(prefix="/v1", tags=["provenance"], responses=RESPONSES)

    @routes.post(
        "/content_provenance_checks", summary="What is known of where a picture comes from", openapi_extra=FILE_BODY
    )
    async def content_provenance_checks(request: Request, key: ReadKey) -> ProvenanceReply:
        _, files = await read_form(request, VariationForm, ("file",))
        file = await state.uploads.open(require_single_image(files["file"], "file"), "file")
        results = [
            report_manifest(file.provenance["c2pa"]),
            {"type": "synthid", "outcome": NOT_DETECTED},
            report_recipe(file.provenance["recipe"]),
        ]
        image = await asyncio.to_thread(read_image, io.BytesIO(file.png), "that was sent")
        async with searching:
            mark = await asyncio.to_thread(detect_watermark, image, find_key())
        results.append({"type": "sumi_watermark", "outcome": DETECTED if mark.detected else NOT_DETECTED,
                        "score": round(mark.score, 2)})  # fmt: skip
        fingerprint = await asyncio.to_thread(make_fingerprint, image)
        similar = await asyncio.to_thread(state.store.gallery.find_similar, key.id, fingerprint)
        results.append(report_similar([(row.id, row.prompt, bits) for row, bits in similar if bits < NEAR]))
        return ProvenanceReply(created_at=int(time.time()), results=results)

    return routes


def report_similar(found: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    """Return the pictures of the key's own gallery that are nearest to the file: id, prompt, and bits that differ."""
    rows = [{"picture": name, "prompt": prompt, "distance": bits} for name, prompt, bits in found]
    return {"type": "sumi_gallery", "outcome": DETECTED if rows else NOT_DETECTED, "similar": rows}


def report_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the content credentials say; `detected` only where Sumi signed them and they hold."""
    state, picture = manifest["state"], manifest["picture"]
    return {
        "type": "c2pa",
        "outcome": DETECTED if state in ("trusted", "valid") and picture else NOT_DETECTED,
        "validation_state": "not_present" if state == "absent" else state,
        "issuer": manifest["signer"],
        "model": picture.get("model"),
        "generated_at": manifest["signed_at"],
        "digital_source_type": manifest["source_type"],
        "rights": picture.get("rights"),
        "ingredients": manifest["ingredients"],
        "faults": manifest["faults"],
    }


def report_recipe(recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the recipe in the metadata claims; signed: whether the content credentials name this recipe."""
    return {"type": "sumi_recipe", "outcome": NOT_DETECTED if recipe is None else DETECTED, **(recipe or {})}
