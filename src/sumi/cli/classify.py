"""`sumi classify`: which of some labels a picture shows, by CLIP, untrained for those labels."""

from __future__ import annotations

import json

import click

from sumi.cli.options import json_option, model_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--labels", required=True, metavar="A,B,C", help="The labels to choose from, with commas between.")
@model_option
@json_option
def classify(image: str, labels: str, model: str | None, as_json: bool) -> None:
    """Say which of some labels IMAGE shows, likeliest first."""
    import sumi
    from sumi.cli.screen import Screen
    from sumi.imaging.image_file import open_image

    opened = open_image(image)
    with Screen("comparing"):
        artist = sumi.load(model)
        chances = artist.classify(opened, labels.split(","))
    if as_json:
        rows = [{"label": label, "probability": round(chance, 6)} for label, chance in chances.items()]
        click.echo(json.dumps({"labels": rows, "path": image, "model": artist.model.name}))
        return
    for label, chance in chances.items():
        click.echo(f"{chance:6.1%}  {label}")
