"""OpenAI's routes for pictures: generations, edits and variations.

    generations    Request
    edits          Edit where a mask says where (its alpha is 0), else Img2img: the prompt drawn over the picture
    variations     Vary

OpenAI's sizes, qualities and model names map onto what this model can do, and the reply names what was used.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Header
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from sumi.imaging.png import encode_png
from sumi.pipelines import Edit, Img2img, Request, Task, Vary
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.job_spec import JobSpec, OutputFormat
from sumi.serving.middleware import DrawKey
from sumi.serving.request_body import inline_definitions, read_json, read_media_type, validate_body
from sumi.serving.responses import ImagesReply, ResponseSpec, respond
from sumi.serving.schemas import (
    MAX_IMAGES,
    DrawingBody,
    EditBody,
    EditForm,
    GenerationBody,
    ImageReference,
    OutputBody,
    VariationForm,
)
from sumi.serving.uploads import MAX_BYTES, Upload

__all__ = ["LEGACY_SIZES", "QUALITIES", "images_routes"]

LEGACY_SIZES: Final = (
    "256x256", "512x512", "1024x1024", "1792x1024", "1024x1792", "1536x1024", "1024x1536",
)  # fmt: skip
"""Sizes of OpenAI's models. Each is drawn at the smallest of our sizes that holds its shorter side, or the largest."""
QUALITIES: Final[Mapping[str, tuple[str, float]]] = {
    "auto": ("medium", 1), "low": ("low", 0.5), "medium": ("medium", 1), "standard": ("medium", 1),
    "high": ("high", 2), "hd": ("high", 2), "xhigh": ("xhigh", 3), "max": ("max", 4),
}  # fmt: skip
"""The name of each quality in the reply, and its multiple of the model's own number of steps."""
MAX_FIELDS: Final = 64
Form = TypeVar("Form", EditBody, EditForm, VariationForm)
SentImage = TypeVar("SentImage")
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
STREAM_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The pictures", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


def images_routes(state: AppState) -> APIRouter:
    """Return the three routes."""
    routes = APIRouter(prefix="/v1/images", tags=["images"], responses=RESPONSES)

    @routes.post(
        "/generations", response_model=ImagesReply, responses=STREAM_RESPONSES, summary="Draw pictures of a prompt"
    )  # fmt: skip
    async def generations(
        request: HTTPRequest, key: DrawKey, body: GenerationBody, idempotency_key: IdempotencyKey = None
    ) -> Response:
        state.check_model(body.model)
        await state.check_prompt(key, body.moderation, body.prompt)
        settings = task_settings(state, body)
        settings |= {"best_of": body.best_of, "whole": body.whole, "balance": body.balance}
        settings |= {"background": body.background}
        task = Request.of(body.prompt, **drop_none(settings))
        spec = JobSpec(task, (), make_output_format(body), read_preview_count(body))
        response = make_response_spec(body, spec, "image_generation", idempotency_key)
        return await respond(request, state.service, state.links, key, response)

    @routes.post(
        "/edits", response_model=ImagesReply, responses=STREAM_RESPONSES,
        summary="Draw over a picture, or draw a part of it anew",
        openapi_extra=document_form_or_json(EditForm, EditBody, ("image",), ("mask",)),
    )  # fmt: skip
    async def edits(request: HTTPRequest, key: DrawKey, idempotency_key: IdempotencyKey = None) -> Response:
        form: EditForm
        sent: Mapping[str, Sequence[bytes | ImageReference]]
        if read_media_type(request) == "application/json":
            form = body = await read_json(request, EditBody)
            sent = {"image": body.images, "mask": [] if body.mask is None else [body.mask]}
        else:
            form, sent = await read_form(request, EditForm, ("image", "mask"))
        state.check_model(form.model)
        await state.check_prompt(key, form.moderation, form.prompt)
        shape = make_output_format(form), read_preview_count(form)
        require_single_image(sent["image"], "image")  # refuse what can be refused before opening a picture
        masks = [require_single_image(sent["mask"], "mask")] if sent["mask"] else []
        image = await state.open_upload(key, sent["image"][0], "image")
        task = make_edit_task(state, form, image, masked=bool(masks))
        pictures = [image.png]
        for mask in masks:
            pictures.append(await asyncio.to_thread(convert_mask, await state.open_upload(key, mask, "mask")))
        marked = [image.marked_file, *(b"" for _ in masks)]
        spec = JobSpec.with_files(task, pictures, *shape, marked_files=marked)
        return await respond(
            request, state.service, state.links, key, make_response_spec(form, spec, "image_edit", idempotency_key)
        )  # fmt: skip

    @routes.post(
        "/variations", response_model=ImagesReply, summary="Draw other pictures of what a picture shows",
        openapi_extra=document_form_or_json(VariationForm, None, ("image",), ()),
    )  # fmt: skip
    async def variations(request: HTTPRequest, key: DrawKey, idempotency_key: IdempotencyKey = None) -> Response:
        form, files = await read_form(request, VariationForm, ("image",))
        state.check_model(form.model)
        task = Vary.of(**drop_none(task_settings(state, form) | {"eta": form.eta}))
        image = await state.open_upload(key, require_single_image(files["image"], "image"), "image")
        spec = JobSpec.with_files(task, [image.png], marked_files=[image.marked_file])
        return await respond(
            request, state.service, state.links, key, make_response_spec(form, spec, "", idempotency_key)
        )

    return routes


# Tasks. ----------------------------------------------------------------------------------------------------------


def task_settings(state: AppState, body: DrawingBody) -> dict[str, Any]:
    """Return the settings of a task that every body may have."""
    settings: dict[str, Any] = {
        "n": body.n,
        "seed": body.seed,
        "guidance": body.guidance_scale,
        "size": resolve_side(state, body.size),
        "adapters": body.adapters,
    }
    settings["steps"] = body.steps
    if isinstance(body, OutputBody):
        settings["negative"], settings["anyway"] = body.negative_prompt, body.anyway
        factor = QUALITIES[body.quality or "auto"][1]
        if body.steps is None and factor != 1:
            settings["steps"] = max(1, round(state.sumi.settings.steps * factor))
    return settings


def make_edit_task(state: AppState, form: EditForm, image: Upload, *, masked: bool) -> Task:
    """Return the task of an edit: with a mask an `Edit`, which keeps the picture's size; without one an `Img2img`."""
    if not masked:
        settings = task_settings(state, form) | {"background": form.background, "strength": form.strength}
        return Img2img.of(form.prompt, **drop_none(settings))
    own = f"{image.width_px}x{image.height_px}"
    if form.size not in (None, "auto", own, *LEGACY_SIZES):
        raise ApiError(400, f"an edited picture keeps its size, {own}", param="size", code="invalid_size")
    if form.strength is not None:
        raise ApiError(400, "strength needs an edit without a mask", param="strength", code="invalid_value")
    return Edit.of(form.prompt, **drop_none(task_settings(state, form.model_copy(update={"size": None}))))


def resolve_side(state: AppState, size: str | None) -> int | None:
    """Return the side in pixels that a size means; None for auto.

    Raises:
        ApiError: the model cannot draw that size.
    """
    if size is None or size == "auto":
        return None
    sizes = state.sumi.sizes
    width, height = (int(side) for side in size.split("x"))
    if width == height and width in sizes:
        return width
    if size in LEGACY_SIZES:
        return next((side for side in sizes if side >= min(width, height)), sizes[-1])
    able = ", ".join(f"{side}x{side}" for side in sizes)
    raise ApiError(400, f"this model draws {able}, or size 'auto'", param="size", code="invalid_size")


def make_output_format(body: OutputBody) -> OutputFormat:
    """Return the file format of a body; ApiError for a transparent JPEG."""
    output = OutputFormat(
        body.output_format or "png", 100 if body.output_compression is None else body.output_compression
    )
    if body.background == "transparent" and output.format == "jpeg":
        raise ApiError(400, "a JPEG cannot be transparent: ask for png or webp", param="background")
    behind = body.background or "auto"
    return output if behind in ("auto", "transparent") else OutputFormat(output.format, output.compression, behind)


def read_preview_count(body: OutputBody) -> int:
    """Return the number of previews that a body asks for; ApiError for previews without a stream."""
    if body.partial_images and not body.stream:
        raise ApiError(400, "partial_images needs stream: true", param="partial_images", code="invalid_value")
    return body.partial_images or 0


def make_response_spec(body: DrawingBody, spec: JobSpec, event: str, idempotency_key: str | None) -> ResponseSpec:
    """Return how to answer a body. event: first part of the names of its stream events."""
    response = ResponseSpec(
        spec,
        event,
        response_format=body.response_format or choose_response_format(body.model),
        quality=QUALITIES["auto"][0],
        safety_identifier=body.safety_identifier or body.user,
        idempotency_key=idempotency_key,
    )
    if not isinstance(body, OutputBody):
        return response
    return replace(
        response,
        quality=QUALITIES[body.quality or "auto"][0],
        background=body.background or "auto",
        partial_images=body.partial_images or 0,
        stream=body.stream or False,
    )


def choose_response_format(model: str | None) -> Literal["b64_json", "url"]:
    """Return OpenAI's format where `response_format` is absent: addresses from dall-e-2 (the default) and dall-e-3."""
    return "url" if model is None or "dall-e" in model.casefold() else "b64_json"


def drop_none(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that are None."""
    return {name: value for name, value in settings.items() if value is not None}


def require_single_image(images: Sequence[SentImage], name: str) -> SentImage:
    """Return the only picture.

    Raises:
        ApiError: there is none, or there are several, which this model cannot combine.
    """
    if len(images) != 1:
        fault = "is missing" if not images else f"was sent {len(images)} times; this model works on one picture"
        raise ApiError(400, f"{name} {fault}", param=name, code="missing_required_parameter" if not images else None)
    return images[0]


def convert_mask(mask: Upload) -> bytes:
    """Return our mask from OpenAI's: white where its alpha is 0, black elsewhere."""
    if not mask.has_alpha:
        raise ApiError(400, "the mask is opaque; set its alpha to 0 where to draw", param="mask", code="invalid_mask")
    alpha = Image.open(io.BytesIO(mask.png)).getchannel("A")
    return encode_png(alpha.point(lambda level: 255 if level == 0 else 0).convert("RGBA"), fast=True)


# Forms. ----------------------------------------------------------------------------------------------------------


async def read_form(
    request: HTTPRequest, kind: type[Form], files: tuple[str, ...]
) -> tuple[Form, dict[str, list[bytes]]]:
    """Read a form.

    Args:
        request: the request.
        kind: the body that the fields make.
        files: names of the file fields; each also matches NAME[].

    Returns:
        The body, and the files' bytes by name.

    Raises:
        ApiError: the form is malformed or has a field that is unknown.
    """
    if read_media_type(request) != "multipart/form-data":
        raise ApiError(415, "the body should be multipart/form-data", code="unsupported_media_type")
    fields: dict[str, str] = {}
    found: dict[str, list[bytes]] = {name: [] for name in files}
    async with request.form(max_files=MAX_IMAGES + 1, max_fields=MAX_FIELDS, max_part_size=2**18) as form:
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if value == "" or (isinstance(value, UploadFile) and not value.filename and not value.size):
                continue  # a browser sends every field of its form, also empty ones
            if isinstance(value, UploadFile):
                if plain not in found:
                    raise ApiError(400, f"unknown file field: {ascii(name)[:80]}", code="unknown_parameter")
                if (value.size or 0) > MAX_BYTES:
                    raise ApiError(413, f"{plain} is over {MAX_BYTES // 2**20} MB", param=plain)
                found[plain].append(await value.read())
            elif plain in found:
                raise ApiError(400, f"{plain} should be a file", param=plain, code="invalid_value")
            elif name in fields:
                raise ApiError(400, f"the field {ascii(name)[:80]} was sent twice", code="invalid_value")
            else:
                fields[name] = value
    return validate_body(lambda: kind.model_validate(fields, strict=False)), found


def document_form_or_json(
    form: type[EditForm] | type[VariationForm],
    body: type[EditBody] | None,
    files: tuple[str, ...],
    optional: tuple[str, ...],
) -> dict[str, Any]:
    """Return the OpenAPI document of a body that the route reads itself."""
    schema = form.model_json_schema()
    binary = {"type": "string", "format": "binary"}
    schema["properties"] |= {name: binary for name in (*files, *optional)}
    schema["required"] = [*schema.get("required", ()), *files]
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema}}
    if body is not None:
        content["application/json"] = {"schema": inline_definitions(body.model_json_schema())}
    return {"requestBody": {"required": True, "content": content}}
