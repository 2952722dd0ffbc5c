"""`sumi data dedup`: pictures that are in a data set more than once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from sumi.cli.data_check import engine_option, open_and_scan, pictures_argument
from sumi.cli.options import json_option, model_option
from sumi.cli.streams import escape_text

METHODS = ("exact", "perceptual", "embedding")
SHOWN = 10
selection_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write what is left: a list NAME.jsonl, or a folder of copies. Nothing is deleted.",
)


@click.command("dedup")
@pictures_argument
@click.option(
    "--by",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    help="How copies are searched; repeatable. Exact ones are always found. [default: all]",
)
@model_option
@selection_option
@engine_option
@json_option
def dedup(
    pictures: str, methods: tuple[str, ...], model: str | None, out: Path | None, engine: str, as_json: bool
) -> None:
    """Find pictures that are in PICTURES more than once, also resized, compressed, cut, mirrored, framed or recoloured.

    Of each group the largest picture that has a caption is kept. CLIP of --model and perceptual hashes search; a pair
    counts when one picture can be laid over the other.
    """
    from sumi.cli.screen import Screen, start_progress_bar
    from sumi.curation.duplicates import find_duplicates
    from sumi.curation.embedding import embed_views, load_clip
    from sumi.curation.selection import check_destination, write_selection

    methods = methods or METHODS
    if out is not None:
        check_destination(out)
    embed = partial(embed_views, clip=load_clip(model)[1]) if "embedding" in methods else None
    dataset, scans = open_and_scan(pictures, engine, views=True)
    with Screen("comparing"):
        groups = find_duplicates(dataset, scans, methods, embed)
    dropped = {number for group in groups for number in group.others}
    left = [n for n in range(len(dataset)) if n not in dropped and not scans[n].fault]
    written = None
    if out is not None:
        written = write_selection([dataset[n] for n in left], out, (), partial(start_progress_bar(), "copying"))
    if as_json:
        rows = [group.to_json(dataset) for group in groups]
        click.echo(json.dumps({
            "place": dataset.place, "pictures": len(dataset), "left": len(left), "groups": rows,
            "unreadable": [scan.name for scan in scans if scan.fault], "out": str(written) if written else None,
        }))  # fmt: skip
        return
    for group in groups[:SHOWN]:
        others = zip(group.others, group.kinds, strict=True)
        texts = ", ".join(f"{dataset[number].name} ({kind})" for number, kind in others)
        click.echo(escape_text(f"{dataset[group.kept].name}: {texts}"))
    if len(groups) > SHOWN:
        click.echo(f"and {len(groups) - SHOWN:,} more groups, which --json names")
    click.echo(f"{len(dataset):,} pictures, {len(dropped):,} of them copies of others, {len(left):,} left")
    if written is not None:
        click.echo(str(written))
