"""`sumi restyle`: a picture moved in the direction in which one text differs from another."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import anyway_option, picture_options, stem_of


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--from", "before", required=True, metavar="TEXT", help="What the picture is, such as 'a red fox'.")
@click.option("--to", "after", required=True, metavar="TEXT", help="What it should become, such as 'a blue fox'.")
@click.option("--amount", type=float, default=0.6, show_default=True, help="How far, from 0 to 1.")
@click.option("--guidance", type=float, help="How hard to lead away from the picture as it was; default 2.")
@anyway_option
@picture_options
def restyle(image: str, model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Move IMAGE from one text towards another."""
    from sumi.pipelines.tasks import Restyle

    draw(Restyle(**settings), [image], stem=stem_of("restyle", image), model=model, out=out, as_json=as_json)
