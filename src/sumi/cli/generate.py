"""`sumi generate`: a prompt in, pictures out, watched while they sharpen."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import (
    anyway_option,
    background_option,
    json_option,
    model_option,
    out_option,
    prior_option,
    seed_option,
    size_option,
)


@click.command()
@click.argument("prompt", nargs=-1, required=True, metavar="PROMPT")
@click.option("-n", "n", type=int, default=1, show_default=True, help="How many pictures.")
@size_option
@seed_option
@click.option("--steps", type=int, help="Steps of the decoder; more is slower and finer.")
@click.option("--guidance", type=float, help="How hard to follow the prompt; 1 is not at all harder.")
@click.option("--negative", metavar="TEXT", default="", help="What to stay away from.")
@click.option("--sampler", metavar="NAME", help="Sampler of the decoder.")
@prior_option
@background_option
@click.option("--best-of", type=int, metavar="K", help="Draw K and keep the n that CLIP ranks best.")
@click.option("--whole", is_flag=True, help="Draw in one piece what would else be arranged in layers.")
@anyway_option
@model_option
@out_option
@json_option
@click.option("--layers", is_flag=True, help="Also write what is drawn in layers as OpenRaster, for painting programs.")
@click.option("--frames", is_flag=True, help="Also write how each picture came to be, as an animated WebP.")
def generate(
    prompt: tuple[str, ...], model: str | None, out: str, as_json: bool, frames: bool, layers: bool, **settings: Any
) -> None:
    """Draw pictures of PROMPT."""
    from sumi.pipelines.prompt import slug
    from sumi.pipelines.request import Request

    request = Request(" ".join(prompt), **settings)
    draw(request, stem=slug(request.prompt), model=model, out=out, as_json=as_json, frames=frames, layers=layers)
