"""`sumi explore`: a picture drawn from more and more of what CLIP sees in it, on one sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import picture_options, stem_of

if TYPE_CHECKING:
    from sumi.pipelines import Picture, UnCLIPPipeline


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--dims", type=int, metavar="K", help="Draw only from the first K; default 1, 2, 4, ... and all.")
@click.option("--guidance", type=float, help="How hard to follow what is said; 1 is not at all harder.")
@picture_options
def explore(image: str, model: str | None, out: str, as_json: bool, **settings: Any) -> None:
    """Draw IMAGE from the first principal components of its embedding, then from more of them, with one noise.

    Under each picture on the sheet: how many components, and their share of the variance of all embeddings.
    """
    from sumi.pipelines.tasks import Explore

    task, stem = Explore(**settings), stem_of("explore", image)
    draw(task, [image], stem=stem, model=model, out=out, as_json=as_json, caption=_said)


def _said(pipeline: UnCLIPPipeline, picture: Picture) -> str:
    count = picture.recipe.options["dims"]
    assert pipeline.axes is not None
    return f"{count}: {pipeline.axes.explained(count):.1%}"
