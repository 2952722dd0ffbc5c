"""`sumi adapters`: what a model was taught, in the person's folder."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sumi.cli.options import json_option
from sumi.cli.streams import escape_text
from sumi.cli.suggestions import SuggestingGroup


@click.group(cls=SuggestingGroup, invoke_without_command=True)
@click.pass_context
def adapters(ctx: click.Context) -> None:
    """List, show, add and remove adapters: what `sumi teach` makes, and --with draws with."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_all, as_json=False)


@adapters.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the adapters: name, word, pictures, date, and the model that each was made for."""
    from sumi.bundles import adapters_folder, list_adapters, list_unfinished

    (found, faults), unfinished = list_adapters(), list_unfinished()
    if as_json:
        rows = [adapter.record.to_json() | {"path": str(adapter.path)} for adapter in found]
        click.echo(
            json.dumps({"folder": str(adapters_folder()), "adapters": rows, "unfinished": unfinished, "faults": faults})
        )
        return
    for adapter in found:
        record = adapter.record
        click.echo(
            f'{adapter.path.stem}: the word {record.word} for "{record.concept}", {len(record.pictures)} pictures, '
            f"{record.date[:10]}, for the model {record.base}"
        )
    for name in unfinished:
        click.echo(f"{name}: unfinished, the same 'sumi teach' goes on with it", err=True)
    for fault in faults:
        click.echo(f"left out: {fault}", err=True)
    if not (found or faults or unfinished):
        click.echo(f"there are none in {adapters_folder()}: 'sumi teach' makes one", err=True)


@adapters.command()
@click.argument("name", metavar="NAME")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print the record of an adapter, with the sha256 of every picture that taught it."""
    from sumi.bundles import open_adapter

    adapter = open_adapter(name)
    record = adapter.record.to_json() | {"path": str(adapter.path), "sha256": adapter.sha256}
    if as_json:
        click.echo(json.dumps(record))
        return
    for key, value in record.items():
        if key == "pictures":
            click.echo(f"pictures: {len(value)}")
            for digest in value:
                click.echo(f"  {digest}")
        elif key == "rights":
            for row in value:
                by = ", ".join(str(row[name]) for name in ("author", "source") if row.get(name))
                licence = row.get("licence") or "no licence named"
                click.echo(escape_text(f"rights: {row.get('pictures')} of {licence}" + (f", {by}" if by else "")))
        elif isinstance(value, dict):
            click.echo(f"{key}: {', '.join(f'{part} {digest[:12]}' for part, digest in value.items())}")
        else:
            click.echo(f"{key.replace('_', ' ')}: {value}")


@adapters.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What --with calls it; default the name inside.")
def add(file: Path, name: str | None) -> None:
    """Copy an adapter that somebody gave you into the folder."""
    from sumi.bundles import add_adapter

    click.echo(str(add_adapter(file, name).path))


@adapters.command()
@click.argument("name", metavar="NAME")
def remove(name: str) -> None:
    """Delete an adapter, and an unfinished run of that name."""
    from sumi.bundles import remove_adapter

    click.echo(f"removed {remove_adapter(name)}")
