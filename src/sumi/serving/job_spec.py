"""What a job is, as JSON values that the database keeps: a task, its pictures, and the files to make.

    JobSpec <-> {"task": {...}, "images": [sha256, ...], "output": {...}, "previews": k, "origins": [{...}, ...],
                 "marked_files": [sha256 or "", ...]}

The pictures are files of the store, named by their sha256. A spec holds its seed, so a job that runs again after a
server stopped draws the same pictures.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from PIL import Image

from sumi.errors import SumiError
from sumi.imaging.png import encode_png
from sumi.pipelines import Artist, Blend, Edit, Picture, Request, Task
from sumi.pipelines.checks import check_choice, check_integer, parse_background
from sumi.pipelines.interpreted import notes_of
from sumi.pipelines.signing import make_ingredient, mark_picture, sign_picture
from sumi.pipelines.tasks import TASKS
from sumi.pipelines.unclip import RANDOM_SEEDS
from sumi.trust.credentials import Ingredient
from sumi.trust.iptc import make_xmp

__all__ = [
    "FORMATS",
    "MAX_PREVIEWS",
    "JobSpec",
    "Origin",
    "OutputFormat",
    "choose_search_prompt",
    "choose_seed",
    "encode",
    "encode_base64",
    "read_ingredients",
]

FORMATS: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MAX_PREVIEWS: Final = 16


@dataclass(frozen=True)
class OutputFormat:
    """Which file is made of a picture.

    Attributes:
        format: png, jpeg or webp.
        compression: quality of a JPEG or WebP, 0 to 100; a WebP of 100 is lossless.
        behind: what lies behind the picture: auto (as it was drawn), transparent, opaque or a colour such as #ffd700.
            A JPEG has no transparency, so auto means white there.
    """

    format: str = "png"
    compression: int = 100
    behind: str = "auto"

    def __post_init__(self) -> None:
        check_choice("output_format", self.format, list(FORMATS))
        check_integer("output_compression", self.compression, 0, 100)
        parse_background(self.behind)

    @property
    def media_type(self) -> str:
        """The media type of the file."""
        return FORMATS[self.format]


@dataclass(frozen=True)
class Origin:
    """A picture that a job starts from.

    Attributes:
        picture: its id in the gallery; None for an upload.
        prompt: its prompt.
    """

    picture: str | None = None
    prompt: str = ""


@dataclass(frozen=True)
class JobSpec:
    """What a job draws.

    Attributes:
        task: the task.
        images: digests of its pictures in the store, a mask last.
        output: the file to make of each picture.
        previews: number of steps of each stage that report a preview.
        origins: where the pictures come from, without the mask.
        marked_files: digests of the files with content credentials that the pictures came as, for the signature; empty
            for a picture without.
        files: the pictures as PNG, then the marked files, until the store has them.
    """

    task: Task
    images: tuple[str, ...] = ()
    output: OutputFormat = OutputFormat()
    previews: int = 0
    origins: tuple[Origin, ...] = ()
    marked_files: tuple[str, ...] = ()
    files: tuple[bytes, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        check_integer("previews", self.previews, 0, MAX_PREVIEWS)

    @classmethod
    def with_files(
        cls,
        task: Task,
        files: Sequence[bytes],
        output: OutputFormat | None = None,
        previews: int = 0,
        origins: Sequence[Origin] = (),
        marked_files: Sequence[bytes] = (),
    ) -> JobSpec:
        """Return a spec about these PNG files, which the store need not have yet."""
        digests = tuple(hashlib.sha256(file).hexdigest() for file in files)
        marked = (
            tuple(hashlib.sha256(file).hexdigest() if file else "" for file in marked_files)
            if any(marked_files)
            else ()
        )
        together = (*files, *filter(None, marked_files))
        return cls(task, digests, output or OutputFormat(), previews, tuple(origins), marked, together)

    @property
    def kind(self) -> str:
        """The name of the operation."""
        return self.task.operation

    @property
    def inputs(self) -> tuple[str, ...]:
        """The digests of every file that the job needs."""
        return tuple(dict.fromkeys((*self.images, *filter(None, self.marked_files))))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; a setting of the task at its default is left out."""
        defaults = {entry.name: entry.default for entry in fields(self.task)}
        task = {name: value for name, value in vars(self.task).items() if value != defaults[name]}
        values = {"task": task, "images": list(self.images), "output": asdict(self.output), "previews": self.previews}
        values |= {"marked_files": list(self.marked_files)} if self.marked_files else {}
        return values | ({"origins": [asdict(origin) for origin in self.origins]} if self.origins else {})

    @classmethod
    def from_json(cls, kind: str, values: Mapping[str, Any]) -> JobSpec:
        """Return the spec that `to_json` wrote. kind: the name of the operation."""
        task = TASKS[kind].of(**values["task"])
        origins = tuple(Origin(**origin) for origin in values.get("origins", ()))
        marked, output = tuple(values.get("marked_files", ())), OutputFormat(**values["output"])
        return cls(task, tuple(values["images"]), output, values["previews"], origins, marked)

    def seeded(self, seed: int) -> JobSpec:
        """Return the spec with this seed, unless it has one."""
        return self if self.task.seed is not None else replace(self, task=replace(self.task, seed=seed))

    def pixel_steps(self, artist: Artist) -> int:
        """Return the cost that a key's daily allowance is charged: pixels drawn, times the decoder's steps."""
        task = self.task
        side = task.size or artist.sizes[-1]
        steps = task.steps or task.usual.get("steps") or artist.settings.steps
        count = task.frames if isinstance(task, Blend) else task.n
        if isinstance(task, Request):
            count = task.candidates(artist.best_of)
        rounds = task.rounds if isinstance(task, Edit) else 1
        return math.prod((side, side, steps, count, rounds))


def choose_seed(key_id: str, idempotency_key: str | None) -> int:
    """Return a random seed; with an idempotency key the seed that belongs to it, so a retry is the same request."""
    if idempotency_key is None:
        return secrets.randbelow(RANDOM_SEEDS)
    digest = hashlib.sha256(f"{key_id} {idempotency_key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") % RANDOM_SEEDS


def encode(picture: Picture, output: OutputFormat, rights: str = "", ingredients: Sequence[Ingredient] = ()) -> bytes:
    """Return the signed file of a picture. A PNG holds its recipe; the gallery keeps the recipe of every file.

    Args:
        picture: the picture.
        output: which file to make.
        rights: one line about the pictures that taught the model.
        ingredients: the pictures that it was made from.
    """
    picture = mark_picture(replace(picture, rights=rights, ingredients=ingredients))
    background = parse_background(output.behind)
    if output.format != "png":
        data = encode_image(picture.image, output, make_xmp(**picture.recipe.ai_fields()))
    else:
        flat = picture.image if background is None else flatten_onto(picture.image, background)
        data = replace(picture, image=flat).png()
    return sign_picture(picture, data, output.media_type)


def read_ingredients(spec: JobSpec, read: Callable[[str], bytes]) -> list[Ingredient]:
    """Return the pictures that a job starts from, without a mask, each with the marks that it came with.

    read: returns a file of the store.
    """
    count = spec.task.num_images
    marked = spec.marked_files[:count] or ("",) * count
    return [make_ingredient(read(file or image)) for image, file in zip(spec.images[:count], marked, strict=True)]


def encode_image(image: Image.Image, output: OutputFormat, xmp: bytes = b"") -> bytes:
    """Return the file of an image without a recipe. xmp: metadata of a JPEG or WebP."""
    background = parse_background(output.behind)
    if output.format == "jpeg" and background is None:
        background = (255, 255, 255)
    flat = image if background is None else flatten_onto(image, background)
    if output.format == "png":
        return encode_png(flat, fast=True)
    file = io.BytesIO()
    if output.format == "jpeg":
        flat.save(file, format="JPEG", quality=max(1, output.compression), xmp=xmp)
    else:
        flat.save(file, format="WEBP", quality=output.compression, lossless=output.compression == 100, xmp=xmp)
    return file.getvalue()


def encode_base64(image: Image.Image) -> str:
    """Return an image as PNG in base64."""
    return base64.b64encode(encode_png(image, fast=True)).decode()


def flatten_onto(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return an image over a colour, as RGB."""
    if image.mode == "RGB":
        return image
    page = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def find_job_note(sumi: Artist, kind: str, settings: Mapping[str, Any]) -> str | None:
    """Return the note of a stored task; None for a job whose texts were deleted with its pictures."""
    try:
        return find_task_note(sumi, TASKS[kind].of(**settings))
    except SumiError:
        return None


def find_task_note(sumi: Artist, task: Task) -> str | None:
    """Return what a task is drawn as, where that differs from its texts; None also for a bad task."""
    try:
        notes = notes_of(sumi.interpreted(task))
    except SumiError:
        return None
    return "; ".join(notes) or None


def choose_search_prompt(spec: JobSpec) -> str:
    """Return the text that finds a spec's pictures: its own prompt, or else those of the pictures it starts from."""
    task = spec.task
    if isinstance(task, Request) or task.prompt:
        return task.prompt
    return " to ".join(task.texts or dict.fromkeys(origin.prompt for origin in spec.origins if origin.prompt))
