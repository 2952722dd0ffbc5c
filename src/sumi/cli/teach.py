"""`sumi teach`: teaches a model something new from a few pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.data_rights import read_rules, rights_options
from sumi.cli.options import model_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.bundles import Adapter
    from sumi.training.loop import Report

MAX_LINES = 10


@click.command()
@click.argument("pictures", metavar="PICTURES", type=click.Path(path_type=Path))
@click.option("--as", "concept", required=True, metavar="TEXT", help='What they show, by a new word: "my cat Mochi".')
@click.option("--minutes", type=float, default=20.0, show_default=True, help="How long it may take in all.")
@click.option("--steps", type=click.IntRange(1, 10**6), help="Take so many steps instead.")
@click.option("--name", metavar="NAME", help="What --with calls it; default the new word.")
@click.option("--rank", type=int, default=16, show_default=True, help="Rank of the changes (LoRA).")
@click.option("--alpha", type=float, help="The changes are scaled by alpha / rank; default the rank.")
@click.option("--lr", type=float, default=2e-3, show_default=True, help="Peak learning rate.")
@click.option("--own", type=int, default=64, show_default=True, help="Pictures of other things to be held to.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every choice.")
@click.option("--fresh", is_flag=True, help="Begin again, where an unfinished run is there.")
@click.option("--finish", is_flag=True, help="End an unfinished run with what it has learned.")
@rights_options
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line: progress, then the adapter.")
def teach(
    pictures: Path, concept: str, minutes: float, steps: int | None, name: str | None, rank: int, alpha: float | None,
    lr: float, own: int, seed: int, fresh: bool, finish: bool, model: str | None, as_json: bool,
    **rights: Any,
) -> None:  # fmt: skip
    """Teach a model what is in the folder PICTURES, from a dozen pictures or some hundreds.

    The result is one small file, an adapter. Draw with it: sumi generate "a red mochi" --with mochi

    NAME.txt beside a picture describes it. Pictures with a transparent background teach more than photographs: they are
    also shown in other colours and in company. Stop it at any moment; the same command goes on.
    """
    from sumi.bundles import Bundle, default_bundle, is_published
    from sumi.cli.screen import start_progress_bar
    from sumi.systems.unclip.teach import TeachSettings, teach_word

    started, folder = time.perf_counter(), Path(model) if model else default_bundle()
    if is_published(folder):
        raise SumiError(f"{folder} is another library's model; 'sumi teach' teaches Sumi's own")
    settings = TeachSettings(minutes, steps, rank, float(rank) if alpha is None else alpha, lr, own, seed)
    bar = start_progress_bar() if not as_json else None

    def say(what: str, done: int, of: int) -> None:
        if bar is None:
            print_event("preparing", what=what, done=done, of=of)
        else:
            bar(what, done, of)

    def show(report: Report) -> None:
        if as_json:
            picture = None if report.picture is None else str(report.picture)
            figures = {"step": report.step, "num_steps": report.num_steps, "loss": round(report.loss, 5)}
            print_event("training", **figures, eta_s=round(report.eta_s, 1), picture=picture)

    def note(line: str) -> None:
        if as_json:
            print_event("note", note=line)
        else:
            click.echo(line, err=True)

    adapter = teach_word(
        pictures, concept, Bundle.load(folder), settings, name=name, rules=read_rules(**rights), fresh=fresh,
        finish=finish, quiet=as_json, say=say, on_report=show, note=note,
    )  # fmt: skip
    if adapter is None:
        if as_json:
            print_event("stopped")
        else:
            click.echo("the same command goes on with it, and --finish ends it with what it has learned", err=True)
        raise click.Abort
    report_adapter(adapter, time.perf_counter() - started, as_json)


def report_adapter(adapter: Adapter, seconds: float, as_json: bool) -> None:
    """Print where an adapter is and how to draw with it."""
    record, size = adapter.record, adapter.path.stat().st_size
    if as_json:
        print_event("done", adapter=record.to_json(), path=str(adapter.path), bytes=size, seconds=round(seconds, 1))
        return
    made = f"{len(record.pictures)} pictures, {size / 1e6:.1f} MB, {seconds / 60:.1f} minutes"
    click.echo(str(adapter.path))
    click.echo(f"{record.word}: {made}", err=True)
    click.echo(f'draw with: sumi generate "a red {record.word}" --with {record.name}', err=True)


def print_event(event: str, **values: Any) -> None:
    """Print one event as a line of JSON."""
    click.echo(json.dumps({"event": event, **values}))
