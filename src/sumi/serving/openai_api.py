"""Pictures as OpenAI's clients ask for them: generations, edits and variations.

    generations    Request
    edits          Edit where a mask says where (its alpha is 0), else Img2img: the prompt drawn over the picture
    variations     Vary

Sizes, qualities and model names of theirs are mapped onto what the model here can do, and the answer says which it was.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Header
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from sumi.imaging.png import encode_png
from sumi.pipelines import Edit, Img2img, Task, Vary
from sumi.pipelines import Request as Wish
from sumi.serving.app_state import AppState
from sumi.serving.body import inlined, kind_of, read_json, validated
from sumi.serving.errors import RESPONSES, ApiError
from sumi.serving.job_spec import JobSpec, OutputFormat
from sumi.serving.middleware import may
from sumi.serving.responses import ImagesReply, ResponseSpec, respond
from sumi.serving.schemas import (
    MOST_IMAGES,
    DrawingBody,
    EditBody,
    EditForm,
    GenerationBody,
    ImageReference,
    OutputBody,
    VariationForm,
)
from sumi.serving.uploads import MOST_BYTES, Upload
from sumi.store import Key

__all__ = ["LEGACY_SIZES", "QUALITIES", "images_routes"]

LEGACY_SIZES: Final = (
    "256x256", "512x512", "1024x1024", "1792x1024", "1024x1792", "1536x1024", "1024x1536",
)  # fmt: skip
"""Sizes of OpenAI's models, each drawn at the least of our sizes that holds its shorter side, or the largest."""
QUALITIES: Final[Mapping[str, tuple[str, float]]] = {
    "auto": ("medium", 1), "low": ("low", 0.5), "medium": ("medium", 1), "standard": ("medium", 1),
    "high": ("high", 2), "hd": ("high", 2), "xhigh": ("xhigh", 3), "max": ("max", 4),
}  # fmt: skip
"""What each is called in the answer, and how many times the model's own number of steps it takes."""
MOST_FIELDS: Final = 64
Form = TypeVar("Form", EditBody, EditForm, VariationForm)
Sent = TypeVar("Sent")
Drawer = Annotated[Key, Depends(may["draw"])]
Idempotency = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The pictures", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


def images_routes(desk: AppState) -> APIRouter:
    """The three routes."""
    routes = APIRouter(prefix="/v1/images", tags=["images"], responses=RESPONSES)
    answers = {"response_model": ImagesReply}

    @routes.post("/generations", responses=STREAMED, summary="Draw pictures of a prompt", **answers)  # type: ignore[arg-type]
    async def generations(
        request: Request, key: Drawer, body: GenerationBody, idempotency_key: Idempotency = None
    ) -> Response:
        desk.check_model(body.model)
        desk.check_prompt(body.moderation, body.prompt)
        own = {"best_of": body.best_of, "whole": body.whole, "background": body.background}
        settings = task_settings(desk, body) | own
        task = Wish.of(body.prompt, **without_defaults(settings))
        order = JobSpec(task, (), output(body), previews(body))
        asked = response_spec(body, order, "image_generation", idempotency_key)
        return await respond(request, desk.service, desk.links, key, asked)

    @routes.post(
        "/edits", responses=STREAMED, summary="Draw over a picture, or a part of it anew",
        openapi_extra=form_or_json(EditForm, EditBody, ("image",), ("mask",)), **answers,  # type: ignore[arg-type]
    )  # fmt: skip
    async def edits(request: Request, key: Drawer, idempotency_key: Idempotency = None) -> Response:
        form: EditForm
        sent: Mapping[str, Sequence[bytes | ImageReference]]
        if kind_of(request) == "application/json":
            form = body = await read_json(request, EditBody)
            sent = {"image": body.images, "mask": [] if body.mask is None else [body.mask]}
        else:
            form, sent = await read_form(request, EditForm, ("image", "mask"))
        desk.check_model(form.model)
        desk.check_prompt(form.moderation, form.prompt)
        shape = output(form), previews(form)
        single_image(sent["image"], "image")  # all that can be refused is refused before a picture is opened
        masks = [single_image(sent["mask"], "mask")] if sent["mask"] else []
        image = await desk.opened(key, sent["image"][0], "image")
        task = edit_task(desk, form, image, masked=bool(masks))
        pictures = [image.png]
        for mask in masks:
            pictures.append(await asyncio.to_thread(white_where_clear, await desk.opened(key, mask, "mask")))
        order = JobSpec.with_files(task, pictures, *shape)
        return await respond(
            request, desk.service, desk.links, key, response_spec(form, order, "image_edit", idempotency_key)
        )  # fmt: skip

    @routes.post(
        "/variations", summary="Draw other pictures of what a picture shows",
        openapi_extra=form_or_json(VariationForm, None, ("image",), ()), **answers,  # type: ignore[arg-type]
    )  # fmt: skip
    async def variations(request: Request, key: Drawer, idempotency_key: Idempotency = None) -> Response:
        form, files = await read_form(request, VariationForm, ("image",))
        desk.check_model(form.model)
        task = Vary.of(**without_defaults(task_settings(desk, form) | {"eta": form.eta}))
        image = await desk.uploads.open(single_image(files["image"], "image"), "image")
        order = JobSpec.with_files(task, [image.png])
        return await respond(request, desk.service, desk.links, key, response_spec(form, order, "", idempotency_key))

    return routes


# From their words to ours. ---------------------------------------------------------------------------------------


def task_settings(desk: AppState, body: DrawingBody) -> dict[str, Any]:
    """The settings of a task that every body may have."""
    settings: dict[str, Any] = {
        "n": body.n,
        "seed": body.seed,
        "guidance": body.guidance_scale,
        "size": side_of(desk, body.size),
    }
    settings["steps"] = body.steps
    if isinstance(body, OutputBody):
        settings["negative"], settings["anyway"] = body.negative_prompt, body.anyway
        factor = QUALITIES[body.quality or "auto"][1]
        if body.steps is None and factor != 1:
            settings["steps"] = max(1, round(desk.sumi.settings.steps * factor))
    return settings


def edit_task(desk: AppState, form: EditForm, image: Upload, *, masked: bool) -> Task:
    """The task of an edit: with a mask the picture keeps its own size, without one it is drawn over."""
    if not masked:
        settings = task_settings(desk, form) | {"background": form.background, "strength": form.strength}
        return Img2img.of(form.prompt, **without_defaults(settings))
    own = f"{image.width_px}x{image.height_px}"
    if form.size not in (None, "auto", own, *LEGACY_SIZES):
        raise ApiError(400, f"an edited picture keeps its size, {own}", param="size", code="invalid_size")
    if form.strength is not None:
        raise ApiError(400, "strength is of an edit without a mask", param="strength", code="invalid_value")
    return Edit.of(form.prompt, **without_defaults(task_settings(desk, form.model_copy(update={"size": None}))))


def side_of(desk: AppState, size: str | None) -> int | None:
    """The side, in pixels, that a size asks for; None leaves it to the model; ApiError for one that cannot be."""
    if size is None or size == "auto":
        return None
    sizes = desk.sumi.sizes
    width, height = (int(side) for side in size.split("x"))
    if width == height and width in sizes:
        return width
    if size in LEGACY_SIZES:
        return next((side for side in sizes if side >= min(width, height)), sizes[-1])
    able = ", ".join(f"{side}x{side}" for side in sizes)
    raise ApiError(400, f"this model draws {able}, or size 'auto'", param="size", code="invalid_size")


def output(body: OutputBody) -> OutputFormat:
    """The file that is asked for; ApiError for a transparent JPEG."""
    made = OutputFormat(
        body.output_format or "png", 100 if body.output_compression is None else body.output_compression
    )
    if body.background == "transparent" and made.format == "jpeg":
        raise ApiError(400, "a JPEG cannot be transparent: ask for png or webp", param="background")
    behind = body.background or "auto"
    return made if behind in ("auto", "transparent") else OutputFormat(made.format, made.compression, behind)


def previews(body: OutputBody) -> int:
    """Of how many steps of a stage to show the picture."""
    if body.partial_images and not body.stream:
        raise ApiError(400, "partial_images needs stream: true", param="partial_images", code="invalid_value")
    return body.partial_images or 0


def response_spec(body: DrawingBody, order: JobSpec, event: str, idempotency_key: str | None) -> ResponseSpec:
    """What the answer must know."""
    return ResponseSpec(
        order,
        event,
        response_format=body.response_format or usual_format(body.model),
        quality=QUALITIES[getattr(body, "quality", None) or "auto"][0],
        background=getattr(body, "background", None) or "auto",
        safety_identifier=body.safety_identifier or body.user,
        partial_images=getattr(body, "partial_images", None) or 0,
        stream=getattr(body, "stream", None) or False,
        idempotency_key=idempotency_key,
    )


def usual_format(model: str | None) -> Literal["b64_json", "url"]:
    """What OpenAI answers where no `response_format` is given: addresses from dall-e-2, the default, and dall-e-3."""
    return "url" if model is None or "dall-e" in model.casefold() else "b64_json"


def without_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that were left to the model."""
    return {name: value for name, value in settings.items() if value is not None}


def single_image(images: Sequence[Sent], name: str) -> Sent:
    """The one picture; ApiError where there is none, or where there are several, which this model cannot combine."""
    if len(images) != 1:
        said = "is missing" if not images else f"was sent {len(images)} times, and this model works on one"
        raise ApiError(400, f"{name} {said}", param=name, code="missing_required_parameter" if not images else None)
    return images[0]


def white_where_clear(mask: Upload) -> bytes:
    """Our mask from theirs: white where its alpha is 0, black elsewhere."""
    if not mask.has_alpha:
        raise ApiError(400, "mask has no transparency: its alpha is 0 where to draw", param="mask", code="invalid_mask")
    alpha = Image.open(io.BytesIO(mask.png)).getchannel("A")
    return encode_png(alpha.point(lambda level: 255 if level == 0 else 0).convert("RGBA"), fast=True)


# Forms. ----------------------------------------------------------------------------------------------------------


async def read_form(request: Request, kind: type[Form], files: tuple[str, ...]) -> tuple[Form, dict[str, list[bytes]]]:
    """Read a form: its fields as a body, and the bytes of its files, each also under NAME[]."""
    if kind_of(request) != "multipart/form-data":
        raise ApiError(415, "the body should be multipart/form-data", code="unsupported_media_type")
    fields: dict[str, str] = {}
    found: dict[str, list[bytes]] = {name: [] for name in files}
    async with request.form(max_files=MOST_IMAGES + 1, max_fields=MOST_FIELDS, max_part_size=2**18) as form:
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if value == "" or (isinstance(value, UploadFile) and not value.filename and not value.size):
                continue  # a browser sends every field of its form, also one that was left empty
            if isinstance(value, UploadFile):
                if plain not in found:
                    raise ApiError(400, f"unknown file: {ascii(name)[:80]}", code="unknown_parameter")
                if (value.size or 0) > MOST_BYTES:
                    raise ApiError(413, f"{plain} is over {MOST_BYTES // 2**20} MB", param=plain)
                found[plain].append(await value.read())
            elif plain in found:
                raise ApiError(400, f"{plain} should be a file", param=plain, code="invalid_value")
            elif name in fields:
                raise ApiError(400, f"a field was sent twice: {ascii(name)[:80]}", code="invalid_value")
            else:
                fields[name] = value
    return validated(lambda: kind.model_validate(fields, strict=False)), found


def form_or_json(
    form: type[EditForm] | type[VariationForm],
    body: type[EditBody] | None,
    files: tuple[str, ...],
    optional: tuple[str, ...],
) -> dict[str, Any]:
    """What the OpenAPI document says of a body that is read here and not by FastAPI."""
    schema = form.model_json_schema()
    binary = {"type": "string", "format": "binary"}
    schema["properties"] |= {name: binary for name in (*files, *optional)}
    schema["required"] = [*schema.get("required", ()), *files]
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema}}
    if body is not None:
        content["application/json"] = {"schema": inlined(body.model_json_schema())}
    return {"requestBody": {"required": True, "content": content}}
