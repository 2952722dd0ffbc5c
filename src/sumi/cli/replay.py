"""`sumi replay`: draws a picture again from its recipe, and compares."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from sumi.cli.files import find_destination
from sumi.cli.model_choice import ModelChoice, model_options
from sumi.cli.options import json_option, out_option, sign_option

if TYPE_CHECKING:
    from PIL import Image

ROUNDING = 1
"""Largest difference that counts as the same: another batch or processor may round a level the other way."""


@click.command()
@click.argument("file", metavar="FILE.png")
@model_options
@out_option
@sign_option
@json_option
def replay(file: str, choice: ModelChoice, out: str, sign: bool, as_json: bool) -> int:
    """Draw FILE again from its metadata and compare. The status is 1 where the result differs."""
    started = time.perf_counter()
    place = find_destination(out)
    from sumi.cli.screen import Screen
    from sumi.pipelines.events import Picture
    from sumi.pipelines.prompt import slug
    from sumi.pipelines.recipe import read_recipe
    from sumi.trust.watermark import add_watermark, find_key

    image, recipe = read_recipe(file)
    with Screen("loading the model") as screen:
        artist = choice.load()
        weights = artist.with_adapters(recipe.adapters).model.hashes
        others = [name for name, value in weights.items() if recipe.hashes.get(name) != value]
        if others:
            screen.say(f"note: other weights than this model's drew {file} ({', '.join(others)})")
        redrawn: Picture | None = None
        for event in artist.replay(recipe, file):
            screen.show(event, artist)
            redrawn = event if isinstance(event, Picture) else redrawn
    assert redrawn is not None
    path = place.write(
        f"{slug(recipe.prompt or recipe.operation)}-{recipe.seed}", redrawn.signed_png() if sign else redrawn.png()
    )
    apart = min(
        (measure_difference(image, one) for one in (redrawn.image, add_watermark(redrawn.image, find_key()))),
        key=lambda levels: 256 if levels is None else levels,
    )
    same = apart is not None and apart <= ROUNDING
    if as_json:
        report = {"path": str(path), "identical": apart == 0, "same": same, "difference": apart}
        report |= {"seconds": round(time.perf_counter() - started, 3), "model": artist.model.name}
        click.echo(json.dumps(report))
        return int(not same)
    verdict = "identical" if apart == 0 else f"{'the same' if same else 'different'} (by at most {apart} of 255)"
    click.echo(f"{path}: {verdict if apart is not None else 'different (another size or mode)'}")
    return int(not same)


def measure_difference(one: Image.Image, other: Image.Image) -> int | None:
    """Return the largest difference of any premultiplied level, 0 to 255; None where size or mode differ."""
    from sumi.imaging.pixels import premultiply

    if (one.size, one.mode) != (other.size, other.mode):
        return None
    levels = [premultiply(image).mul(255).round() for image in (one, other)]
    return int((levels[0] - levels[1]).abs().max())
