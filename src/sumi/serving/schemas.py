"""Request bodies, field by field: OpenAI's images, embeddings and moderations, and our own jobs.

An unknown field is refused by name, and so is a value of another type; in a form, where everything is text, "2" is a
2. The task that a body becomes checks the rest.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sumi.pipelines.checks import LONGEST_PROMPT
from sumi.pipelines.request import LARGEST_SEED, MOST_CANDIDATES, MOST_STEPS, STRONGEST_GUIDANCE
from sumi.serving.job_spec import MAX_PREVIEWS

SIZE = r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"
MAX_PROMPT_CHARS_SENT = 32_000
MAX_IMAGES = 16
MAX_URL_CHARS = 70_000_000

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED - MOST_CANDIDATES)]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
Guidance = Annotated[float, Field(ge=0, le=STRONGEST_GUIDANCE)]
Name = Annotated[str, Field(max_length=256)]
Negative = Annotated[str, Field(max_length=LONGEST_PROMPT)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS_SENT)]
Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]
Format = Literal["png", "jpeg", "webp"]
JobStatus = Literal["queued", "running", "succeeded", "failed", "canceled"]


class RequestBody(BaseModel):
    """A JSON body, read strictly."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class DrawingBody(RequestBody):
    """What every request for pictures has. seed, steps and guidance_scale are our own."""

    model: Name | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: Annotated[str, Field(pattern=SIZE)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: Name | None = None
    safety_identifier: Name | None = None
    seed: Seed | None = None
    steps: Steps | None = None
    guidance_scale: Guidance | None = None


class OutputBody(DrawingBody):
    """What generations and edits have in addition. negative_prompt and anyway are our own."""

    prompt: Prompt
    quality: Quality | None = None
    background: Annotated[str, Field(pattern=r"^(auto|transparent|opaque|#[0-9a-fA-F]{6})$")] | None = None
    output_format: Format | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    moderation: Literal["auto", "low"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    negative_prompt: Negative | None = None
    anyway: bool | None = None


class GenerationBody(OutputBody):
    """POST /v1/images/generations. `style` is accepted and has no effect. best_of and whole are our own."""

    style: Literal["vivid", "natural"] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)] | None = None
    whole: bool | None = None


class ImageReference(RequestBody):
    """A picture: a data URL, or a picture of the key's own gallery by its id."""

    image_url: Annotated[str, Field(max_length=MAX_URL_CHARS)] | None = None
    picture: Annotated[str, Field(max_length=40)] | None = None

    @model_validator(mode="after")
    def check_exactly_one(self) -> Self:
        """Require exactly one of the two."""
        if (self.image_url is None) == (self.picture is None):
            raise ValueError("a picture is given by its image_url (a data URL) or by picture (an id of your gallery)")
        return self


class EditForm(OutputBody):
    """POST /v1/images/edits, as a form; the pictures are its files. strength is our own, for an edit without a mask."""

    input_fidelity: Literal["high", "low"] | None = None
    strength: Annotated[float, Field(ge=0.01, le=1)] | None = None


class EditBody(EditForm):
    """POST /v1/images/edits, as JSON."""

    images: Annotated[list[ImageReference], Field(min_length=1, max_length=MAX_IMAGES)]
    mask: ImageReference | None = None


class VariationForm(DrawingBody):
    """POST /v1/images/variations. eta is our own: how much of the picture's own noise is renewed."""

    eta: Annotated[float, Field(ge=0, le=1)] | None = None


class EmbeddingBody(RequestBody):
    """POST /v1/embeddings."""

    input: (
        Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS_SENT)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS_SENT)]],
            Field(min_length=1, max_length=256),
        ]
    )
    model: Name
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Name | None = None


class ImageUrl(RequestBody):
    """A picture's address."""

    url: Annotated[str, Field(max_length=MAX_URL_CHARS)]


class TextPart(RequestBody):
    """A piece of text."""

    type: Literal["text"]
    text: Annotated[str, Field(max_length=MAX_PROMPT_CHARS_SENT)]


class ImagePart(RequestBody):
    """A picture. The policy reads words only, and the reply says so."""

    type: Literal["image_url"]
    image_url: ImageUrl


class ModerationBody(RequestBody):
    """POST /v1/moderations."""

    input: (
        Annotated[str, Field(max_length=MAX_PROMPT_CHARS_SENT)]
        | Annotated[
            list[
                Annotated[str, Field(max_length=MAX_PROMPT_CHARS_SENT)]
                | Annotated[TextPart | ImagePart, Field(discriminator="type")]
            ],
            Field(min_length=1, max_length=256),
        ]
    )
    model: Name | None = None


class JobBody(RequestBody):
    """POST /v1/jobs: a kind, and the settings of its task, as the library has them; others are refused.

    images: what it is done to. mask: of an edit, white where to draw. previews: of how many of a stage's steps to show
    the picture. priority: above 0 with the scope admin only.
    """

    kind: Literal["generate", "vary", "edit", "blend", "restyle", "explore", "img2img", "upscale"]
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS_SENT)] | None = None
    negative: Negative | None = None
    n: Annotated[int, Field(ge=1, le=64)] | None = None
    size: Annotated[int, Field(ge=1, le=2**16)] | None = None
    seed: Seed | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    sampler: Annotated[str, Field(max_length=40)] | None = None
    prior: Annotated[str, Field(max_length=40)] | None = None
    background: Annotated[str, Field(max_length=20)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)] | None = None
    whole: bool | None = None
    anyway: bool | None = None
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    expand: Annotated[list[Annotated[int, Field(ge=0, le=4096)]], Field(min_length=4, max_length=4)] | None = None
    rounds: Annotated[int, Field(ge=1, le=20)] | None = None
    frames: Annotated[int, Field(ge=2, le=64)] | None = None
    amount: Annotated[float, Field(ge=0, le=1)] | None = None
    noise: Literal["inverted", "fixed"] | None = None
    dims: Annotated[int, Field(ge=1, le=2**16)] | None = None
    before: Annotated[str, Field(max_length=LONGEST_PROMPT)] | None = None
    after: Annotated[str, Field(max_length=LONGEST_PROMPT)] | None = None
    strength: Annotated[float, Field(ge=0.01, le=1)] | None = None
    images: Annotated[list[ImageReference], Field(max_length=2)] = []
    mask: ImageReference | None = None
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    previews: Annotated[int, Field(ge=0, le=MAX_PREVIEWS)] = 0
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    moderation: Literal["auto", "low"] = "auto"

    @property
    def settings(self) -> dict[str, Any]:
        """What is said of the task."""
        wrapping = {
            "kind", "images", "mask", "output_format", "output_compression", "previews", "priority", "moderation",
        }  # fmt: skip
        return self.model_dump(exclude=wrapping, exclude_none=True)
