"""`sumi systems`: every published system that can be trained here, in the order of their papers."""

from __future__ import annotations

import json
import sys

import click

from sumi.cli.options import json_option


@click.command()
@json_option
def systems(as_json: bool) -> None:
    """List the systems: when they were published, what each does, what it learns from."""
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
    table.add_column("summary")
    table.add_column("learns from pictures", no_wrap=True)
    table.add_column("draws", no_wrap=True)
    for row in SYSTEMS.values():
        others = [need for need in row.needs if need != "pictures"]
        needs = f"and {', '.join(others)}" if others else "alone"
        table.add_row(row.name, str(row.year), row.summary, needs, "pictures" if row.draws else "none")
    # In a pipe every row is one line.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    click.echo("train one with: sumi train SYSTEM --data FOLDER", err=True)
