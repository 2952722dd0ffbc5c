"""What the commands that draw share: progress on the screen, files under readable names, and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.files import Destination, find_destination, write_new
from sumi.errors import SumiError

if TYPE_CHECKING:
    from PIL import Image

    from sumi.cli.frames import Frames
    from sumi.cli.model_choice import ModelChoice
    from sumi.pipelines import Picture, UnCLIPPipeline
    from sumi.pipelines.request import Task


def draw(
    task: Task,
    images: Sequence[str] = (),
    *,
    stem: str,
    choice: ModelChoice,
    out: str,
    as_json: bool,
    sign: bool = True,
    frames: bool = False,
    layers: bool = False,
    animate: bool = False,
    caption: Callable[[UnCLIPPipeline, Picture], str] | None = None,
) -> None:
    """Draw a task, write its pictures, and print where they are.

    Pictures go into a folder as stem-seed.png, or into the file that was named; several are numbered: fox-1.png.

    Args:
        task: what to draw.
        images: files of the task's pictures, its mask last.
        stem: the stem of file names.
        choice: the model and how it is opened.
        out: a folder, or a file ending in .png.
        as_json: print one JSON object.
        sign: add signed content credentials to every file.
        frames: also write how each picture came to be, as an animated WebP.
        layers: also write what is drawn in layers, as OpenRaster.
        animate: also write the pictures one after another, as an animated WebP.
        caption: returns the caption of a picture on the contact sheet.
    """
    started = time.perf_counter()
    files = _Files(find_destination(out), stem, numbered=task.draws_several, sign=sign)

    import sumi
    from sumi.cli.frames import Frames
    from sumi.cli.screen import Screen
    from sumi.imaging.image_file import open_image
    from sumi.pipelines.events import Picture, Progress
    from sumi.pipelines.interpreted import UnknownPromptError
    from sumi.pipelines.signing import find_certificate

    if sign:
        find_certificate()  # a fault ends here, before anything is drawn
    opened = [open_image(path) for path in images]
    with Screen("loading the model") as screen:
        artist = choice.load()
        try:
            events = artist.stream(task, *images)
        except UnknownPromptError as error:
            raise SumiError(f"{error}; use --anyway to draw it as it is") from None
        notes = artist.notes(task, *opened)
        if files.place.replaces and not files.numbered:
            notes.append(f"{files.place.file} will be replaced")
        for note in notes:
            screen.say(f"note: {note}")
        pipeline = artist.pipeline if isinstance(artist, sumi.Sumi) else None
        if frames and pipeline is None:
            raise SumiError(f"the model {artist.model.name} shows no steps to make --frames of")
        recorder = Frames(pipeline) if frames and pipeline else None
        for event in events:
            screen.show(event, artist)
            if recorder is not None and isinstance(event, Progress):
                recorder.add(event)
            if isinstance(event, Picture):
                files.write_picture(event)
        if layers:
            files.write_layers()
        if recorder is not None:
            files.write_frames(recorder)
        if len(files.pictures) > 1:
            if animate:
                files.write_loop()
            files.write_sheet([caption(pipeline, one) for one in files.pictures] if caption and pipeline else ())

    seconds = time.perf_counter() - started
    if as_json:
        report = files.to_json(layers) | {"seconds": round(seconds, 3), "model": artist.model.name, "notes": notes}
        click.echo(json.dumps(report))
        return
    for path in files.all:
        click.echo(str(path))
    count = "1 picture" if len(files.pictures) == 1 else f"{len(files.pictures)} pictures"
    click.echo(f"{count} in {seconds:.1f} s", err=True)


@dataclass
class _Files:
    """The files that one command writes.

    Args:
        place: the folder, or the file that was named.
        stem: the stem of file names in a folder.
        numbered: whether a file that was named stands for several.
        sign: whether every file gets signed content credentials.
    """

    place: Destination
    stem: str
    numbered: bool
    sign: bool
    pictures: list[Picture] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    layers: list[Path] = field(default_factory=list)
    films: list[Path] = field(default_factory=list)
    sheet: Path | None = None

    @property
    def all(self) -> list[Path]:
        """Every file, the pictures first."""
        return [*self.paths, *self.layers, *self.films, *filter(None, [self.sheet])]

    def write_picture(self, picture: Picture) -> None:
        """Write a picture as soon as it is drawn."""
        from sumi.pipelines.signing import mark_picture

        self.pictures.append(picture)
        data = self._finish(picture, mark_picture(picture).png())
        if self.numbered and self.place.file:
            path = write_new(self.place.folder, f"{self.place.file.stem}-{len(self.pictures)}", ".png", data)
        else:
            path = self.place.write(f"{self.stem}-{picture.seed}", data)
        self.paths.append(path)

    def write_layers(self) -> None:
        """Write the layers of each picture that has some beside it, as OpenRaster."""
        from sumi.imaging.openraster import openraster

        for picture, path in zip(self.pictures, self.paths, strict=True):
            if picture.layers and (stack := openraster(picture.image, picture.layers)):
                self.layers.append(write_new(path.parent, path.stem, ".ora", stack))

    def write_frames(self, recorder: Frames) -> None:
        """Write how each picture came to be, as an animation."""
        for picture, path in zip(self.pictures, self.paths, strict=True):
            data = self._finish(picture, recorder.webp(picture), "image/webp")
            self.films.append(write_new(self.place.folder, f"{path.stem}-frames", ".webp", data))

    def write_loop(self) -> None:
        """Write the pictures one after another, and back, as an animation."""
        from sumi.cli.frames import film

        data = film(_images([*self.pictures, *self.pictures[-2:0:-1]]))
        data = self._finish(self.pictures[0], data, "image/webp")
        self.films.append(write_new(self.place.folder, self._base, ".webp", data))

    def write_sheet(self, captions: Sequence[str]) -> None:
        """Write all pictures on one sheet."""
        from sumi.imaging.contact_sheet import contact_sheet
        from sumi.imaging.png import encode_png

        data = self._finish(self.pictures[0], encode_png(contact_sheet(_images(self.pictures), captions)))
        self.sheet = write_new(self.place.folder, f"{self._base}-sheet", ".png", data)

    def to_json(self, layers: bool) -> dict[str, Any]:
        """Return where everything is; `layers`: say so of layers too, also where there are none."""
        report: dict[str, Any] = {"images": _rows(self.pictures, self.paths)}
        report |= {"sheet": str(self.sheet)} if self.sheet else {}
        report |= {"layers": [str(path) for path in self.layers]} if layers else {}
        report |= {"frames": [str(path) for path in self.films]} if self.films else {}
        return report

    @property
    def _base(self) -> str:
        return self.place.stem(f"{self.stem}-{self.pictures[0].seed}")

    def _finish(self, picture: Picture, data: bytes, media_type: str = "image/png") -> bytes:
        from sumi.pipelines.signing import sign_picture

        return sign_picture(picture, data, media_type) if self.sign else data


def _images(pictures: Sequence[Picture]) -> list[Image.Image]:
    return [picture.image for picture in pictures]


def _rows(pictures: Sequence[Picture], paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the `images` of the JSON report."""
    return [
        {"path": str(path), "seed": picture.seed, "score": picture.recipe.score, "seconds": round(picture.seconds, 3)}
        for picture, path in zip(pictures, paths, strict=True)
    ]
