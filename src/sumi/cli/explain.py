"""`sumi explain`: which word of its prompt drew which part of a picture."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from sumi.cli.files import find_destination
from sumi.cli.options import json_option, model_option, sheet_out_option
from sumi.errors import SumiError


@click.command()
@click.argument("file", metavar="[FILE.png]", required=False)
@click.option("--prompt", metavar="TEXT", help="Draw this first, instead of FILE.")
@click.option("--seed", type=int, help="With --prompt: the seed to draw from; default another one each time.")
@model_option
@sheet_out_option
@json_option
def explain(
    file: str | None, prompt: str | None, seed: int | None, model: str | None, out: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show which word of its prompt drew which part of FILE, a picture that Sumi drew.

    Draws the picture again without each word in turn, from the same noise. Prints each word's share of all change, and
    writes one sheet: a heat map for each word, and the picture without it.
    """
    if (file is None) == (prompt is None):
        raise SumiError("give explain a picture that Sumi drew, or --prompt TEXT to draw one first")
    if seed is not None and prompt is None:
        raise SumiError("--seed needs --prompt: a picture already has a seed")
    started = time.perf_counter()
    if prompt is not None:
        from sumi.pipelines.request import Request

        Request(prompt, seed=seed)
    import sumi
    from sumi.cli.screen import Screen
    from sumi.explain.heatmap import page
    from sumi.imaging.png import encode_png
    from sumi.pipelines.prompt import slug
    from sumi.pipelines.recipe import read_recipe
    from sumi.pipelines.steps import drive

    image, recipe = (None, None) if file is None else read_recipe(file)
    place = find_destination(out or (Path(file).parent if file else "pictures"))
    with Screen("loading the model") as screen:
        artist = sumi.load(model)
        if "explain" not in artist.features:
            raise artist.cannot("explain its pictures")
        if prompt is not None:
            (picture,) = artist.generate(prompt, seed=seed)
            image, recipe = picture.image, picture.recipe
        assert image is not None and recipe is not None
        explanation = screen.follow(drive(artist.work_explained(recipe)), artist)
    stem = f"{slug(recipe.prompt)}-{recipe.seed}" if file is None else slug(Path(file).stem)
    path = place.write(f"{stem}-words", encode_png(page(explanation, image)))
    if as_json:
        words = [{"word": word.text, "share": round(word.share, 6)} for word in explanation.words]
        report = {"prompt": explanation.prompt, "seed": explanation.seed, "words": words, "sheet": str(path)}
        report |= {"seconds": round(time.perf_counter() - started, 3), "model": artist.model.name}
        click.echo(json.dumps(report))
        return
    for word in explanation.words:
        click.echo(f"{word.share:6.1%}  {word.text}")
    click.echo(str(path))
