"""`sumi upscale`: a picture four times as large."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import background_option, json_option, model_option, out_option, seed_option, stem_of


@click.command()
@click.argument("image", metavar="IMAGE")
@seed_option
@click.option("--steps", type=int, help="Steps of the upsampler; more is slower and finer.")
@background_option
@model_option
@out_option
@json_option
def upscale(image: str, model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Draw IMAGE, of up to 256 pixels a side, four times as large."""
    from sumi.pipelines.tasks import Upscale

    draw(Upscale(**settings), [image], stem=stem_of("upscale", image), model=model, out=out, as_json=as_json)
