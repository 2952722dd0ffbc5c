"""`sumi data check`: what would go wrong if a model learned from one's own pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.options import json_option, model_option
from sumi.cli.streams import escape_text

if TYPE_CHECKING:
    from sumi.curation.check import DataReport
    from sumi.curation.scan import PictureScan
    from sumi.data.picture_dataset import PictureDataset

COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}
SHOWN = 3

pictures_argument = click.argument("pictures", metavar="PICTURES")
engine_option = click.option(
    "--engine",
    type=click.Choice(("local", "ray")),
    default="local",
    show_default=True,
    help="Where pictures are opened: in this process, or on a Ray cluster.",
)


@click.command("check")
@pictures_argument
@model_option
@click.option(
    "--size", "size_px", type=click.IntRange(1), default=64, show_default=True, help="Side that the model draws, in px."
)
@click.option(
    "--max-broken",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Share of samples that may be broken, as in sumi train.",
)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with thumbnails as well.")
@engine_option
@json_option
def check(
    pictures: str, model: str | None, size_px: int, max_broken: float, html: Path | None, engine: str, as_json: bool
) -> int:
    """Say what would go wrong if a model learned from PICTURES.

    PICTURES is a folder, tar shards, parquet files or a directory of `datasets`. The status is 1 where training would
    fail. Captions are compared with the words of --model.
    """
    from sumi.bundles import Bundle, default_bundle
    from sumi.cli.files import require_writable_folder
    from sumi.curation.check import check_pictures

    if html is not None:
        require_writable_folder(html.parent)
    tokenizer = Bundle.load(model or default_bundle()).tokenizer()
    dataset, scans = open_and_scan(pictures, engine)
    report = check_pictures(dataset, scans, tokenizer, size_px=size_px, max_broken=max_broken)
    if html is not None:
        from sumi.atomic_file import write_atomic
        from sumi.curation.report_page import report_page

        write_atomic(html, report_page(report, dataset))
    if as_json:
        click.echo(json.dumps(report.to_json() | ({"html": str(html)} if html else {})))
    else:
        print_report(report)
        if html is not None:
            click.echo(str(html))
    return int(report.breaks_training)


def open_and_scan(pictures: str, engine: str, views: bool = False) -> tuple[PictureDataset, list[PictureScan]]:
    """Return a data set and a scan of each of its pictures, with a bar."""
    from functools import partial

    from sumi.cli.screen import start_progress_bar
    from sumi.curation.scan import scan_pictures
    from sumi.data.open_dataset import open_dataset

    dataset = open_dataset(pictures)
    return dataset, scan_pictures(dataset, partial(start_progress_bar(), "opening pictures"), engine, views)


def print_report(report: DataReport) -> None:
    """Print what was found, errors first."""
    from sumi.curation.check import count_pictures

    least, median, most = report.sizes_px
    click.echo(
        f"{escape_text(report.place)}: {report.kind}, {report.count:,} pictures, {report.captioned:,} with a caption, "
        f"{report.labelled:,} with a label; the smaller side is {least} to {most} px, {median} px in the middle"
    )
    for finding in report.findings:
        count = f"{count_pictures(len(finding.pictures))}: " if finding.pictures else ""
        head = click.style(f"{finding.level:<8}", fg=COLOURS[finding.level])
        click.echo(f"{head} {finding.code:<16}{count}{escape_text(finding.text)}")
        if finding.pictures:
            more = len(finding.pictures) - SHOWN
            names = ", ".join(finding.pictures[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
            click.echo(f"{'':25}{escape_text(names)}")
    if not report.findings:
        click.echo("nothing is wrong")
    elif report.breaks_training:
        click.echo("training would fail")
