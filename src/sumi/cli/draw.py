"""What the commands that draw share: progress on the screen, files under readable names, and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.files import find_destination, write_new
from sumi.errors import SumiError

if TYPE_CHECKING:
    from PIL import Image

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
    place = find_destination(out)

    import sumi
    from sumi.cli.frames import Frames, film
    from sumi.cli.screen import Screen
    from sumi.imaging.contact_sheet import contact_sheet
    from sumi.imaging.image_file import open_image
    from sumi.imaging.png import encode_png
    from sumi.pipelines.events import Picture, Progress
    from sumi.pipelines.interpreted import UnknownPromptError
    from sumi.pipelines.signing import find_certificate, mark_picture, sign_picture

    def finish(picture: Picture, data: bytes, media_type: str = "image/png") -> bytes:
        return sign_picture(picture, data, media_type) if sign else data

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
        if place.replaces and not task.draws_several:
            notes.append(f"{place.file} will be replaced")
        for note in notes:
            screen.say(f"note: {note}")
        pictures: list[Picture] = []
        paths: list[Path] = []
        pipeline = artist.pipeline if isinstance(artist, sumi.Sumi) else None
        if frames and pipeline is None:
            raise SumiError(f"the model {artist.model.name} shows no steps to make --frames of")
        recorder = Frames(pipeline) if frames and pipeline else None
        for event in events:
            screen.show(event, artist)
            if recorder is not None and isinstance(event, Progress):
                recorder.add(event)
            if isinstance(event, Picture):
                pictures.append(event)
                data = finish(event, mark_picture(event).png())
                if task.draws_several and place.file:
                    paths.append(write_new(place.folder, f"{place.file.stem}-{len(pictures)}", ".png", data))
                else:
                    paths.append(place.write(f"{stem}-{event.seed}", data))
        base = place.stem(f"{stem}-{pictures[0].seed}")
        films = []
        stacks = [path for path in map(_write_layers, pictures, paths) if path] if layers else []
        if recorder is not None:
            for picture, path in zip(pictures, paths, strict=True):
                animation = finish(picture, recorder.webp(picture), "image/webp")
                films.append(write_new(place.folder, f"{path.stem}-frames", ".webp", animation))
        if animate and len(pictures) > 1:
            loop = _images([*pictures, *pictures[-2:0:-1]])
            animation = finish(pictures[0], film(loop), "image/webp")
            films.append(write_new(place.folder, base, ".webp", animation))
        contact = None
        if len(pictures) > 1:
            captions = [caption(pipeline, picture) for picture in pictures] if caption and pipeline else ()
            page = contact_sheet(_images(pictures), captions)
            contact = write_new(place.folder, f"{base}-sheet", ".png", finish(pictures[0], encode_png(page)))

    seconds = round(time.perf_counter() - started, 3)
    if as_json:
        report: dict[str, Any] = {"images": _rows(pictures, paths), "seconds": seconds}
        report |= {"model": artist.model.name, "notes": notes}
        report |= {"sheet": str(contact)} if contact else {}
        report |= {"layers": [str(path) for path in stacks]} if layers else {}
        report |= {"frames": [str(path) for path in films]} if films else {}
        click.echo(json.dumps(report))
        return
    for written in [*paths, *stacks, *films, *filter(None, [contact])]:
        click.echo(str(written))
    count = "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"
    click.echo(f"{count} in {seconds:.1f} s", err=True)


def _write_layers(picture: Picture, path: Path) -> Path | None:
    """Write a picture's layers beside it; None where it has none."""
    from sumi.imaging.openraster import openraster

    stack = openraster(picture.image, picture.layers) if picture.layers else None
    return write_new(path.parent, path.stem, ".ora", stack) if stack else None


def _images(pictures: Sequence[Picture]) -> list[Image.Image]:
    return [picture.image for picture in pictures]


def _rows(pictures: Sequence[Picture], paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the `images` of the JSON report."""
    return [
        {"path": str(path), "seed": picture.seed, "score": picture.recipe.score, "seconds": round(picture.seconds, 3)}
        for picture, path in zip(pictures, paths, strict=True)
    ]
