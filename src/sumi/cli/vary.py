"""`sumi vary`: other pictures of what this one shows."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import picture_options, stem_of


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("-n", "n", type=int, default=4, show_default=True, help="How many pictures.")
@click.option(
    "--eta",
    type=float,
    default=1.0,
    show_default=True,
    help="How different: 0 is the picture again, 1 keeps only what it shows.",
)
@click.option("--guidance", type=float, help="How hard to follow what the picture shows; 1 is not at all harder.")
@picture_options
def vary(image: str, model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Draw other pictures of what IMAGE shows."""
    from sumi.pipelines.tasks import Vary

    draw(Vary(**settings), [image], stem=stem_of("vary", image), model=model, out=out, as_json=as_json)
