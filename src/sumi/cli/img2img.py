"""`sumi img2img`: a prompt drawn over a picture, which lends it colours and places."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import anyway_option, picture_options, prior_option, stem_of


@click.command()
@click.argument("image", metavar="IMAGE")
@click.argument("prompt", nargs=-1, required=True, metavar="PROMPT")
@click.option("--strength", type=float, default=0.7, show_default=True, help="How much of IMAGE to give up; 1 is all.")
@click.option("-n", "n", type=int, default=1, show_default=True, help="How many pictures.")
@click.option("--guidance", type=float, help="How hard to follow the prompt; 1 is not at all harder.")
@click.option("--negative", metavar="TEXT", default="", help="What to stay away from.")
@click.option("--sampler", metavar="NAME", help="Sampler of the decoder.")
@prior_option
@anyway_option
@picture_options
def img2img(image: str, prompt: tuple[str, ...], model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Draw PROMPT over IMAGE."""
    from sumi.pipelines.tasks import Img2img

    task = Img2img(" ".join(prompt), **settings)
    draw(task, [image], stem=stem_of("img2img", image), model=model, out=out, as_json=as_json)
