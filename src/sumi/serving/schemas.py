"""Request bodies, field by field: OpenAI's images, embeddings and moderations, and our own jobs.

An unknown field is refused by name, and so is a value of another type; in a form, where everything is text, "2" is a
2. The task that a body becomes checks the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator

from sumi.pipelines.checks import LONGEST_PROMPT
from sumi.pipelines.option import Option
from sumi.pipelines.request import Request, Task
from sumi.pipelines.tasks import TASKS, Img2img, Vary
from sumi.serving.job_spec import MAX_PREVIEWS

SIZE = r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"
MAX_PROMPT_CHARS_SENT = 32_000
MAX_IMAGES = 16
MAX_URL_CHARS = 70_000_000
MAX_JOB_IMAGES = max(task.num_images for task in TASKS.values())


def make_bounds(task: type[Task], name: str) -> Any:
    """Return the bounds of a task's setting, for a field of ours in one of OpenAI's bodies."""
    option = task.schema()[name]
    return Field(ge=option.minimum, le=option.maximum, description=option.help)


Seed = Annotated[int, make_bounds(Request, "seed")]
Steps = Annotated[int, make_bounds(Request, "steps")]
Guidance = Annotated[float, make_bounds(Request, "guidance")]
Adapters = Annotated[str, Field(max_length=400, description=Request.schema()["adapters"].help)]
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
    """What every request for pictures has. seed, steps, guidance_scale and adapters are our own."""

    model: Name | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: Annotated[str, Field(pattern=SIZE)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: Name | None = None
    safety_identifier: Name | None = None
    seed: Seed | None = None
    steps: Steps | None = None
    guidance_scale: Guidance | None = None
    adapters: Adapters | None = None


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
    """POST /v1/images/generations. `style` has no effect. best_of, whole and balance are our own."""

    style: Literal["vivid", "natural"] | None = None
    best_of: Annotated[int, make_bounds(Request, "best_of")] | None = None
    whole: bool | None = None
    balance: bool | None = None


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
    strength: Annotated[float, make_bounds(Img2img, "strength")] | None = None


class EditBody(EditForm):
    """POST /v1/images/edits, as JSON."""

    images: Annotated[list[ImageReference], Field(min_length=1, max_length=MAX_IMAGES)]
    mask: ImageReference | None = None


class VariationForm(DrawingBody):
    """POST /v1/images/variations. eta is our own: how much of the picture's own noise is renewed."""

    eta: Annotated[float, make_bounds(Vary, "eta")] | None = None


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


class JobRequest(RequestBody):
    """What every job has besides the settings of its task.

    images: the pictures that the task works on. mask: of an edit, white where to draw. previews: number of steps of
    each stage that report a preview. priority: above 0 only with the scope admin.
    """

    kind: str
    images: Annotated[list[ImageReference], Field(max_length=MAX_JOB_IMAGES)] = []
    mask: ImageReference | None = None
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] = 100
    previews: Annotated[int, Field(ge=0, le=MAX_PREVIEWS)] = 0
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    moderation: Literal["auto", "low"] = "auto"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the task that are given."""
        return self.model_dump(exclude=set(JobRequest.model_fields), exclude_none=True)


def make_job_body(tasks: Mapping[str, type[Task]]) -> type[JobRequest]:
    """Return the body of POST /v1/jobs: a kind of task, and the settings of all kinds. The task refuses the others'.

    tasks: the kinds of task, by the name of their operation.
    """
    options: dict[str, Option] = {}
    for task in tasks.values():
        for name, option in task.schema().items():
            options[name] = widen(options[name], option) if name in options else option
    fields: dict[str, Any] = {name: (make_field_type(option) | None, None) for name, option in options.items()}
    check = AfterValidator(partial(check_kind, tuple(tasks)))
    kind = Annotated[str, check, Field(json_schema_extra={"enum": [*tasks]})]
    summary = "POST /v1/jobs: a kind of task and its settings, as in Python."
    return create_model("JobBody", __base__=JobRequest, __doc__=summary, kind=(kind, ...), **fields)


def check_kind(kinds: Sequence[str], kind: str) -> str:
    """Return the name of an operation; ValueError for an unknown one."""
    if kind not in kinds:
        raise ValueError(f"choose one of {', '.join(kinds)}")
    return kind


def widen(one: Option, other: Option) -> Option:
    """Return an option that allows what either of two options with one name allows."""
    bounds: dict[str, Any] = {
        "minimum": None if one.minimum is None or other.minimum is None else min(one.minimum, other.minimum),
        "maximum": None if one.maximum is None or other.maximum is None else max(one.maximum, other.maximum),
    }
    return replace(one, **bounds, choices=tuple(dict.fromkeys((*one.choices, *other.choices))))


def make_field_type(option: Option) -> Any:
    """Return the type of a body's field: that of an option, with its bounds and help. The task checks the rest."""
    documented: dict[str, Any] = {"description": option.help}
    if option.choices:
        return Annotated[str, Field(json_schema_extra={"enum": [*option.choices]}, **documented)]
    if option.kind is str:
        extra: dict[str, Any] = (
            {} if option.pattern is None else {"json_schema_extra": {"pattern": f"^({option.pattern})$"}}
        )
        return Annotated[str, Field(max_length=int(option.maximum or LONGEST_PROMPT), **extra, **documented)]
    if option.kind is bool:
        return Annotated[bool, Field(**documented)]
    bounds: dict[str, Any] = {"ge": option.minimum, "le": option.maximum}
    if option.kind is tuple:
        return Annotated[list[Annotated[int, Field(**bounds)]], Field(min_length=4, max_length=4, **documented)]
    return Annotated[option.kind, Field(**bounds, **documented)]


JobBody = make_job_body(TASKS)
