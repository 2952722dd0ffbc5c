"""`sumi import`: weights in pickles become safetensors."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import")
@click.argument("source")
@click.argument("target")
@click.option("--section", metavar="NAME", help="Key of a checkpoint to take, as ema; default its weights.")
def import_(source: str, target: str, section: str | None) -> None:
    """Convert the weights SOURCE, a file or a folder, to safetensors in TARGET, which must not exist yet.

    A pickle is read without being executed; whatever it names besides tensors is refused by name.
    """
    from sumi.bundles.published import import_weights
    from sumi.cli.screen import start_progress_bar

    made = import_weights(Path(source), Path(target), section, start_progress_bar())
    click.echo(made)
