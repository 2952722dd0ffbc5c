"""What a job is told, as values that a database keeps: a task, the pictures it is about, and which files to make.

    Order <-> {"task": {...}, "images": [sha256, ...], "output": {...}, "previews": k, "origins": [{...}, ...]}

The pictures are files of the store under their sha256. An order holds its seed, so that drawing it again, after a
server was stopped, draws the same pictures.
"""

from __future__ import annotations

import hashlib
import io
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from PIL import Image

from sumi.errors import SumiError
from sumi.imaging.png import encode_png
from sumi.pipelines import Artist, Picture, Request, Task
from sumi.pipelines.checks import check_choice, check_integer, parse_background
from sumi.pipelines.interpreted import notes_of
from sumi.pipelines.tasks import TASKS
from sumi.pipelines.unclip import RANDOM_SEEDS

__all__ = ["FORMATS", "MOST_PREVIEWS", "JobSpec", "Origin", "OutputFormat", "encode", "seed_for"]

FORMATS: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MOST_PREVIEWS: Final = 16


@dataclass(frozen=True)
class OutputFormat:
    """Which file is made of a picture.

    compression: quality of a JPEG or WebP, 0 to 100; a WebP of 100 loses nothing. behind: what the picture is laid on,
    as a `background` is said; auto leaves it as it was drawn. A JPEG, which cannot be transparent, is laid on white.
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
        """What the file is served as."""
        return FORMATS[self.format]


@dataclass(frozen=True)
class Origin:
    """A picture that a job starts from. picture: its id in the gallery, None for an upload. prompt: its prompt."""

    picture: str | None = None
    prompt: str = ""


@dataclass(frozen=True)
class JobSpec:
    """One job.

    images: digests in the store. previews: of how many of a stage's steps to show the picture. origins: where the
    images come from, without the mask. files: the images' bytes, PNG, until the store has them.
    """

    task: Task
    images: tuple[str, ...] = ()
    output: OutputFormat = OutputFormat()
    previews: int = 0
    origins: tuple[Origin, ...] = ()
    files: tuple[bytes, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        check_integer("previews", self.previews, 0, MOST_PREVIEWS)

    @classmethod
    def with_files(
        cls,
        task: Task,
        files: Sequence[bytes],
        output: OutputFormat | None = None,
        previews: int = 0,
        origins: Sequence[Origin] = (),
    ) -> JobSpec:
        """Return an order about these PNG files, which the store need not have yet."""
        digests = tuple(hashlib.sha256(file).hexdigest() for file in files)
        return cls(task, digests, output or OutputFormat(), previews, tuple(origins), tuple(files))

    @property
    def kind(self) -> str:
        """What is done."""
        return self.task.operation

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        said = {entry.name: getattr(self.task, entry.name) for entry in fields(self.task)}
        usual = {entry.name: entry.default for entry in fields(self.task)}
        task = {name: value for name, value in said.items() if value != usual[name]}
        values = {"task": task, "images": list(self.images), "output": asdict(self.output), "previews": self.previews}
        return values | ({"origins": [asdict(origin) for origin in self.origins]} if self.origins else {})

    @classmethod
    def from_json(cls, kind: str, values: Mapping[str, Any]) -> JobSpec:
        """Return the order that a job's row holds."""
        task = TASKS[kind].of(**values["task"])
        origins = tuple(Origin(**origin) for origin in values.get("origins", ()))
        return cls(task, tuple(values["images"]), OutputFormat(**values["output"]), values["previews"], origins)

    def seeded(self, seed: int) -> JobSpec:
        """Return it with this seed, unless it has one."""
        return self if self.task.seed is not None else replace(self, task=replace(self.task, seed=seed))

    def pixel_steps(self, artist: Artist) -> int:
        """What it costs, by which a key's day is measured: pixels drawn, times the decoder's steps."""
        task = self.task
        side = task.size or artist.sizes[-1]
        steps = task.steps or task.usual.get("steps") or artist.settings.steps
        count = getattr(task, "frames", None) or max(task.n, getattr(task, "best_of", None) or 0)
        return math.prod((side, side, steps, count, getattr(task, "rounds", 1)))


def seed_for(key_id: str, idempotency_key: str | None) -> int:
    """Return a seed of chance, or that of an idempotency key, so that a request sent twice is the same request."""
    if idempotency_key is None:
        return secrets.randbelow(RANDOM_SEEDS)
    digest = hashlib.sha256(f"{key_id} {idempotency_key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") % RANDOM_SEEDS


def encode(picture: Picture, output: OutputFormat) -> bytes:
    """Return the file of a picture; a PNG holds its recipe, and of the others the gallery remembers it."""
    behind = parse_background(output.behind)
    if output.format == "png":
        return (picture if behind is None else replace(picture, image=flatten_onto(picture.image, behind))).png()
    return image_bytes(picture.image, output)


def image_bytes(image: Image.Image, output: OutputFormat) -> bytes:
    """Return the file of an image without a recipe."""
    behind = parse_background(output.behind)
    file = io.BytesIO()
    if output.format == "jpeg":
        flatten_onto(image, behind or (255, 255, 255)).save(file, format="JPEG", quality=max(1, output.compression))
    else:
        flat = image if behind is None else flatten_onto(image, behind)
        if output.format == "webp":
            flat.save(file, format="WEBP", quality=output.compression, lossless=output.compression == 100)
        else:
            file.write(encode_png(flat, fast=True))
    return file.getvalue()


def flatten_onto(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return an image over a colour, as RGB."""
    if image.mode == "RGB":
        return image
    page = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def job_note(sumi: Artist, kind: str, settings: Mapping[str, Any]) -> str | None:
    """Return the note of a job's task; None for a job whose texts were deleted with its pictures."""
    try:
        return note_of(sumi, TASKS[kind].of(**settings))
    except SumiError:
        return None


def note_of(sumi: Artist, task: Task) -> str | None:
    """Return what a task's pictures are drawn as, where that is not what was asked for; None also for a bad task."""
    try:
        notes = notes_of(sumi.interpreted(task))
    except SumiError:
        return None
    return "; ".join(notes) or None


def prompt_of(order: JobSpec) -> str:
    """Return the text that an order's pictures are found by: its own, or else that of the pictures it starts from."""
    task = order.task
    if isinstance(task, Request) or task.prompt:
        return task.prompt
    return " to ".join(task.texts or dict.fromkeys(origin.prompt for origin in order.origins if origin.prompt))
