"""A picture as an SVG: areas of one colour, traced into curves, transparent where the picture is.

vtracer traces (Visual Cortex's algorithm: clusters of colour, their outlines, splines through these).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import vtracer
from fastapi import APIRouter
from PIL import Image
from starlette.responses import Response

from sumi.imaging.png import encode_png
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES
from sumi.serving.jobs_api import FILE_HEADERS
from sumi.serving.middleware import ReadKey

__all__ = ["routes", "trace_svg"]

SIDE_PX: Final = 512
"""Smaller pictures are enlarged first, so an edge of a few pixels becomes a curve and not a staircase."""
SVG: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The drawing", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}


def trace_svg(image: Image.Image) -> str:
    """Return an image as an SVG of its own size; pixels with alpha of at most 127 are left out."""
    rgba = image.convert("RGBA")
    factor = max(1, round(SIDE_PX / max(rgba.size)))
    large = rgba.resize((rgba.width * factor, rgba.height * factor), Image.Resampling.BICUBIC)
    large.putalpha(large.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0))
    svg: str = vtracer.convert_raw_image_to_svg(
        encode_png(large, fast=True), img_format="png", colormode="color", hierarchical="stacked", mode="spline",
        filter_speckle=6, color_precision=6, layer_difference=12, corner_threshold=60, length_threshold=4.0,
        splice_threshold=45, path_precision=1,
    )  # fmt: skip
    size = f'width="{large.width}" height="{large.height}"'
    view = f'viewBox="0 0 {large.width} {large.height}" width="{rgba.width}" height="{rgba.height}"'
    return svg.replace(size, view, 1)


def routes(state: AppState) -> APIRouter:
    """Return the route of traced pictures."""
    router = APIRouter(prefix="/v1/gallery", tags=["studio"], responses=RESPONSES)

    @router.get("/{picture}/svg", response_class=Response, responses=SVG, summary="A picture traced into curves")
    async def svg(picture: str, key: ReadKey) -> Response:
        image = await state.open_picture(await state.find_picture(key, picture))
        text = await asyncio.to_thread(trace_svg, image)
        return Response(text, headers=FILE_HEADERS, media_type="image/svg+xml")

    return router
