"""`sumi report`: a training run as one page, curves and pictures, data and rights, and whether the model copies."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sumi.atomic_file import write_atomic
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option
from sumi.errors import SumiError


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write. [default: RUN/report.html]"
)
@click.option(
    "-n", "n", type=click.IntRange(0, 64), default=12, show_default=True,
    help="Drawings to compare with the training pictures; 0 draws nothing.",
)  # fmt: skip
@json_option
def report(run: str, out: Path | None, n: int, as_json: bool) -> None:
    """Write a page about RUN: the folder of a training run, finished or not, or an adapter that was taught.

    It shows the plan and how it went, the curves and the sheets of samples of every stage, which pictures were left out
    and why, whose they are, and the training pictures nearest to some drawings of the finished model. The page is one
    HTML file, which loads nothing.
    """
    from sumi.systems.run_folder import open_run

    opened = open_run(run)
    path = out or opened.folder / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise SumiError(f"the report is a page: use {path.with_suffix('.html').name}, not {path.name}")
    require_writable_folder(path.parent)

    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.run_page import run_page
    from sumi.evaluation.run_report import make_run_report

    made = make_run_report(opened, n, start_progress_bar())
    write_atomic(path, run_page(made))
    if as_json:
        click.echo(json.dumps({**made.to_json(), "path": str(path)}))
        return
    click.echo(str(path))
