"""Options that several commands share."""

from __future__ import annotations

import click

model_option = click.option(
    "--model",
    metavar="DIR",
    help="Folder of the model; default $SUMI_MODEL, or the one that comes with Sumi.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
out_option = click.option("--out", metavar="DIR", default="pictures", show_default=True, help="Where to write.")
