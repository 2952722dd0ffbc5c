"""`sumi replay`: draw a picture again from the recipe inside it, and say whether it came out the same."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from sumi.cli.files import destination
from sumi.cli.options import json_option, model_option, out_option

if TYPE_CHECKING:
    from PIL import Image

ROUNDING = 1
"""Another batch or processor may round a level the other way; more than this is another picture."""


@click.command()
@click.argument("file", metavar="FILE.png")
@model_option
@out_option
@json_option
def replay(file: str, model: str | None, out: str, as_json: bool) -> int:
    """Draw FILE again from its metadata and compare; the status is 1 when it comes out different."""
    started = time.perf_counter()
    place = destination(out)
    import sumi
    from sumi.cli.screen import Screen
    from sumi.pipelines.events import Picture
    from sumi.pipelines.prompt import slug
    from sumi.pipelines.recipe import read_recipe

    image, recipe = read_recipe(file)
    with Screen("waking up") as screen:
        artist = sumi.load(model)
        others = [name for name, value in artist.model.hashes.items() if recipe.hashes.get(name) != value]
        if others:
            screen.say(f"note: {file} was drawn with other weights than this model's ({', '.join(others)})")
        drawn: Picture | None = None
        for event in artist.replay(recipe, image):
            screen.show(event, artist)
            drawn = event if isinstance(event, Picture) else drawn
    assert drawn is not None
    path = place.write(f"{slug(recipe.prompt or recipe.operation)}-{recipe.seed}", drawn.png())
    apart = difference(image, drawn.image)
    same = apart is not None and apart <= ROUNDING
    if as_json:
        report = {"path": str(path), "identical": apart == 0, "same": same, "difference": apart}
        report |= {"seconds": round(time.perf_counter() - started, 3), "model": artist.model.name}
        click.echo(json.dumps(report))
        return int(not same)
    verdict = "identical" if apart == 0 else f"{'the same' if same else 'different'} (at most {apart} of 255 apart)"
    click.echo(f"{path}: {verdict if apart is not None else 'different (another size or kind)'}")
    return int(not same)


def difference(one: Image.Image, other: Image.Image) -> int | None:
    """Return the largest difference of any premultiplied level, 0 to 255; None for other sizes or kinds."""
    from sumi.imaging.pixels import premultiply

    if (one.size, one.mode) != (other.size, other.mode):
        return None
    levels = [premultiply(image).mul(255).round() for image in (one, other)]
    return int((levels[0] - levels[1]).abs().max())
