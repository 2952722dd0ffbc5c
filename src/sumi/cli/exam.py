"""`sumi exam`: a model drawn from, and its pictures marked by a judge that had no part in making it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click


@click.group(invoke_without_command=True)
@click.pass_context
def exam(ctx: click.Context) -> None:
    """Measure a model."""


@exam.command("train-judge")
@click.option("--artwork", default="artwork", show_default=True, metavar="DIR", help="Where the artwork is.")
@click.option("--run", "folder", default="runs/judge", show_default=True, metavar="DIR", help="Where to train.")
@click.option("--out", metavar="DIR", help="Where to write the judge; default the package's own models/judge.")
@click.option("--vocabulary", default="everyday", show_default=True, metavar="NAME", help="everyday or full.")
@click.option("--scenes", type=int, default=96_000, show_default=True, help="How many scenes to draw first.")
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long to train, scenes apart.")
def train_judge(artwork: str, folder: str, out: str | None, vocabulary: str, scenes: int, minutes: float) -> None:
    """Train the judge from artwork: draw scenes of its own, learn them, write the judge."""
    from sumi.evaluation.judge import default_judge
    from sumi.evaluation.schooling import School

    school = School(Path(artwork), Path(folder), vocabulary, scenes, _progress())
    if school.train(minutes):
        click.echo(str(school.export(default_judge() if out is None else Path(out))))


def _progress() -> Callable[[str, int, int], None]:
    """Say on stderr how far the drawing of scenes is, a line every tenth."""
    said: set[tuple[str, int]] = set()

    def progress(what: str, done: int, of: int) -> None:
        tenth = (what, 10 * done // of)
        if tenth not in said:
            said.add(tenth)
            click.echo(f"{what}: {done} of {of}", err=True)

    return progress
