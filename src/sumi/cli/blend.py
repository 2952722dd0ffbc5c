"""`sumi blend`: the way from one picture to another, as pictures and as an animation."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import picture_options, stem_of


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--frames", type=int, default=8, show_default=True, help="How many pictures, both ends among them.")
@click.option(
    "--noise",
    default="inverted",
    show_default=True,
    metavar="KIND",
    help="inverted (the ends are A and B) or fixed (only what is shown changes).",
)
@picture_options
def blend(one: str, other: str, model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Draw the way from picture A to picture B, which are of one size."""
    from sumi.pipelines.tasks import Blend

    stem = stem_of("blend", one, other)
    draw(Blend(**settings), [one, other], stem=stem, model=model, out=out, as_json=as_json, animate=True)
