"""`sumi data build`: embeddings and latents of a data set, computed once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from sumi.cli.data_check import engine_option, pictures_argument
from sumi.cli.options import json_option, model_option
from sumi.cli.streams import escape_text

SHOWN = 10


@click.command("build")
@pictures_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of the shards.")
@click.option(
    "--size", "size_px", type=click.IntRange(8, 1024), help="Side that the codec sees, in px. [default: CLIP's]"
)
@model_option
@engine_option
@json_option
def build(pictures: str, out: Path, size_px: int | None, model: str | None, engine: str, as_json: bool) -> None:
    """Write CLIP's embeddings and the codec's latents of PICTURES in shards.

    Stop it at any moment; the same command goes on. Shards whose pictures, captions or encoders changed are computed
    again, all others stay.
    """
    from sumi.cli.screen import start_progress_bar
    from sumi.curation.embedding import load_clip
    from sumi.curation.encoded_shards import build_shards
    from sumi.data.open_dataset import open_dataset

    bundle, _ = load_clip(model)
    dataset = open_dataset(pictures)
    made = build_shards(dataset, bundle, out, size_px, partial(start_progress_bar(), "encoding"), engine)
    if as_json:
        values = {"pictures": made.pictures, "shards": made.shards, "computed": made.computed}
        click.echo(json.dumps({**values, "unreadable": list(made.faults), "out": str(out)}))
        return
    for fault in made.faults[:SHOWN]:
        click.echo(escape_text(f"left out: {fault}"))
    click.echo(f"{made.pictures:,} pictures in {made.shards:,} shards, {made.computed:,} of them computed now")
    click.echo(str(out))
