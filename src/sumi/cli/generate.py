"""`sumi generate`: a prompt in, pictures out, watched while they sharpen."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.files import writable_folder, write_new
from sumi.cli.options import json_option, model_option, out_option

if TYPE_CHECKING:
    from sumi.pipelines import Picture


@click.command()
@click.argument("prompt", nargs=-1, required=True, metavar="PROMPT")
@click.option("-n", "n", type=int, default=1, show_default=True, help="How many pictures.")
@click.option("--size", type=int, metavar="PX", help="Pixels along a side: 64 or 256; default the model's largest.")
@click.option("--seed", type=int, help="Picture i is drawn from seed + i; default another one each time.")
@click.option("--steps", type=int, help="Steps of the decoder; more is slower and finer.")
@click.option("--guidance", type=float, help="How hard to follow the prompt; 1 is not at all harder.")
@click.option("--negative", metavar="TEXT", default="", help="What to stay away from.")
@click.option("--sampler", metavar="NAME", help="Sampler of the decoder.")
@click.option(
    "--background",
    default="auto",
    show_default=True,
    metavar="COLOUR",
    help="auto, transparent, opaque or a colour such as #ffd700.",
)
@click.option("--best-of", type=int, metavar="K", help="Draw K and keep the n that CLIP ranks best.")
@model_option
@out_option
@json_option
@click.option("--frames", is_flag=True, help="Also write how each picture came to be, as an animated WebP.")
def generate(
    prompt: tuple[str, ...], model: str | None, out: str, as_json: bool, frames: bool, **settings: Any
) -> None:
    """Draw pictures of PROMPT."""
    started = time.perf_counter()
    from sumi.pipelines.request import Request

    request = Request(" ".join(prompt), **settings)
    folder = writable_folder(out)

    import sumi
    from sumi.cli.frames import Frames
    from sumi.cli.screen import Screen
    from sumi.pipelines.events import Picture, Progress
    from sumi.pipelines.pixels import sheet
    from sumi.pipelines.prompt import slug

    with Screen("waking up") as screen:
        artist = sumi.load(model)
        notes = artist.notes(request)
        for note in notes:
            screen.say(f"note: {note}")
        stem, pictures, paths = slug(request.prompt), [], []
        film = Frames(artist.pipeline) if frames else None
        for event in artist.stream(request):
            screen.show(event, artist.pipeline)
            if film is not None and isinstance(event, Progress):
                film.add(event)
            if isinstance(event, Picture):
                pictures.append(event)
                paths.append(write_new(folder, f"{stem}-{event.seed}", ".png", event.png()))
        films = []
        if film is not None:
            for picture, path in zip(pictures, paths, strict=True):
                films.append(write_new(folder, f"{path.stem}-frames", ".webp", film.webp(picture)))
        contact = None
        if len(pictures) > 1:
            page = io.BytesIO()
            sheet([picture.image for picture in pictures]).save(page, format="PNG")
            contact = write_new(folder, f"{stem}-{pictures[0].seed}-sheet", ".png", page.getvalue())

    seconds = round(time.perf_counter() - started, 3)
    if as_json:
        report = _report(pictures, paths) | {
            "seconds": seconds,
            "model": artist.pipeline.model.name,
            "notes": notes,
        }
        report |= {"sheet": str(contact)} if contact else {}
        report |= {"frames": [str(path) for path in films]} if films else {}
        click.echo(json.dumps(report))
        return
    for written in [*paths, *films, *filter(None, [contact])]:
        click.echo(str(written))
    click.echo(f"{len(pictures)} in {seconds:.1f} s", err=True)


def _report(pictures: list[Picture], paths: list[Path]) -> dict[str, Any]:
    """Return the `images` of the JSON report."""
    images = [
        {
            "path": str(path),
            "seed": picture.seed,
            "score": picture.recipe.score,
            "seconds": round(picture.seconds, 3),
        }
        for picture, path in zip(pictures, paths, strict=True)
    ]
    return {"images": images}
