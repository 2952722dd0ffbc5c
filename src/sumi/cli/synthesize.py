"""`sumi synthesize`: labelled pictures by a model, for classes of which a data set has too few."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.options import json_option, sign_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.curation.synthesis import TargetClass

SUMI = "sumi"
"""The name of the model that comes with Sumi."""


@click.command("synthesize")
@click.argument("model", metavar="MODEL")
@click.option(
    "--classes", required=True, metavar="FILE|WORDS",
    help="A file with a label, or LABEL: PROMPT, on each line; or labels with commas between.",
)  # fmt: skip
@click.option(
    "--per-class", type=click.IntRange(1, 100_000), required=True, metavar="N", help="Pictures of each class in all."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where to write.")
@click.option(
    "--beside", metavar="PICTURES", help="A data set whose pictures with these labels count, so that less is drawn."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Picture k is drawn from seed + k.")
@click.option("--steps", type=click.IntRange(1, 1000), help="Steps of the decoder; default the model's.")
@click.option(
    "--agree", is_flag=True, help="Reject pictures for which CLIP finds another of the classes more probable."
)
@click.option("--least-score", type=float, metavar="X", help="Reject pictures with a smaller CLIP score to the prompt.")
@sign_option
@json_option
def synthesize(
    model: str, classes: str, per_class: int, out: Path, beside: str | None, seed: int, steps: int | None,
    agree: bool, least_score: float | None, sign: bool, as_json: bool,
) -> int:  # fmt: skip
    """Draw N labelled pictures of each class with MODEL, as an image folder with metadata.jsonl.

    MODEL is a folder, or "sumi" for the model that comes with Sumi. The same command continues a stopped run. The
    status is 1 where a class did not get full: too many of its pictures were rejected.
    """
    import sumi
    from sumi.cli.screen import start_progress_bar
    from sumi.curation.synthesis import Synthesis, SynthesisPlan, count_labels
    from sumi.data.open_dataset import open_dataset
    from sumi.trust.credentials import hash_recipe

    chosen = read_classes(classes)
    artist = sumi.load(None if model == SUMI else model)
    plan = SynthesisPlan(chosen, seed, agree, least_score, steps, hash_recipe(artist.model.hashes))
    run = Synthesis(artist, plan, out, sign)
    there = count_labels((record.label for record in open_dataset(beside)) if beside else (), chosen)
    wanted = {label: max(0, per_class - count) for label, count in there.items()}
    lacking = run.fill(wanted, start_progress_bar())
    rows = {one.label: {**run.row(one.label), "there": there[one.label]} for one in chosen}
    if as_json:
        click.echo(json.dumps({"out": str(out), "model": artist.model.name, "classes": rows, "lacking": lacking}))
        return int(bool(lacking))
    width = max(map(len, rows))
    for label, row in rows.items():
        reasons = ", ".join(f"{count} {reason}" for reason, count in row["rejected"].items())
        text = f"{label:{width}}  {row['there']:,} there, {row['accepted']:,} drawn"
        text += f", rejected: {reasons}" if reasons else ""
        click.echo(text + (f", {lacking[label]:,} lacking" if label in lacking else ""))
    click.echo(str(out))
    return int(bool(lacking))


def read_classes(given: str) -> tuple[TargetClass, ...]:
    """Return the classes in a file, or between commas."""
    from sumi.curation.synthesis import parse_classes
    from sumi.data.captions import read_text

    path = Path(given)
    if path.suffix in (".txt", ".csv") and not path.is_file():
        raise SumiError(f"there is no file {given}: --classes takes a file, or labels with commas between")
    return parse_classes(read_text(path).splitlines() if path.is_file() else given.split(","))
