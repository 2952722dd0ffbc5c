"""`sumi systems`: every published system that can be trained here, in the order of the story."""

from __future__ import annotations

import json
import sys

import click

from sumi.cli.options import json_option


@click.command()
@json_option
def systems(as_json: bool) -> None:
    """List the systems: when, what each does, what it learns from."""
    from sumi.systems import SYSTEMS

    if as_json:
        rows = [
            {"name": row.name, "year": row.year, "summary": row.summary, "needs": row.needs, "draws": row.draws}
            for row in SYSTEMS.values()
        ]
        click.echo(json.dumps({"systems": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("system", no_wrap=True)
    table.add_column("year", justify="right")
    table.add_column("in a line")
    table.add_column("learns from pictures", no_wrap=True)
    table.add_column("draws", no_wrap=True)
    for row in SYSTEMS.values():
        beside = [need for need in row.needs if need != "pictures"]
        needs = f"and {', '.join(beside)}" if beside else "alone"
        table.add_row(row.name, str(row.year), row.summary, needs, "pictures" if row.draws else "none")
    # In a pipe a row is a line, however long.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    click.echo("train one with: sumi train SYSTEM --data FOLDER", err=True)
