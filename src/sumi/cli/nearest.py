"""`sumi nearest`: which of the drawings that taught a model are nearest to a picture."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sumi.cli.files import find_destination
from sumi.cli.options import json_option, model_option, sheet_out_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("-k", "k", type=int, default=6, show_default=True, help="How many drawings.")
@model_option
@sheet_out_option
@json_option
def nearest(image: str, k: int, model: str | None, out: str | None, as_json: bool) -> None:
    """Show the training drawings nearest to IMAGE, nearest first by CLIP.

    Prints for each its cosine to the picture, its pixel distance (0 is a copy, whatever its place and size; the
    nearest of all drawings is always shown), what it is, and whose. Writes a sheet with the picture beside them.
    """
    import sumi
    from sumi.cli.screen import Screen
    from sumi.explain.neighbor_sheet import neighbor_sheet
    from sumi.imaging import encode_png, open_image
    from sumi.pipelines.prompt import slug

    opened = open_image(image)
    place = find_destination(Path(image).parent if out is None else out)
    with Screen("comparing"):
        artist = sumi.load(model)
        found = artist.nearest(opened, k)
    path = place.write(f"{slug(Path(image).stem)}-nearest", encode_png(neighbor_sheet(opened, found)))
    if as_json:
        rows = [{**near.row, "cosine": round(near.cosine, 6), "distance": round(near.distance, 6)} for near in found]
        click.echo(json.dumps({"path": image, "nearest": rows, "sheet": str(path), "model": artist.model.name}))
        return
    for near in found:
        row = near.row
        name = f"{row['concept']} ({row['person']})" if row["person"] else row["concept"]
        figures = f"cosine {near.cosine:+.3f}  distance {near.distance:.3f}"
        click.echo(f"{figures}  {name}, {row['author']}, {row['licence']}")
    click.echo(str(path))
