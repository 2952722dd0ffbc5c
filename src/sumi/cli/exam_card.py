"""`sumi exam card`: the model card, written from saved exams."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sumi.atomic_file import write_atomic
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option


@click.command()
@model_option
@click.option("--exams", default="exams", show_default=True, metavar="DIR", help="The folder of the saved exams.")
@click.option("--out", default="docs/model-card.md", show_default=True, metavar="FILE", help="Where to write the card.")
@json_option
def card(model: str | None, exams: str, out: str, as_json: bool) -> None:
    """Write the model card from the records that the exams of a model saved.

    All records in DIR must be of the weights of the model. The same records always give the same card.
    """
    path = Path(out)
    require_writable_folder(path.parent)
    from sumi.evaluation.exam import load_bundle
    from sumi.evaluation.model_card import find_records, model_card

    records = find_records(Path(exams))
    write_atomic(path, model_card(load_bundle(model), records))
    if as_json:
        suites = {record.suite: str(record.path) for record in records}
        click.echo(json.dumps({"card": str(path), "exams": suites}))
        return
    click.echo("\n".join([*(f"{record.suite}: {record.path}" for record in records), str(path)]))
