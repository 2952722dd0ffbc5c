"""`sumi export`: a model in the layout of another library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from sumi.cli.model_choice import ModelChoice, model_options
from sumi.errors import SumiError

FORMATS = ("diffusers",)


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option(
    "--format", "layout", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True, help="The layout."
)
@model_options
def export(source: str, target: str, layout: str, choice: ModelChoice) -> None:
    """Write the model SOURCE to the folder TARGET, which must not exist yet, so that diffusers loads it.

    A single file of Stable Diffusion becomes a folder, and what --lora adds stays in its weights. Networks of Sumi's
    own have no counterpart in diffusers.
    """
    from sumi.bundles.published import export_diffusers
    from sumi.cli.screen import Screen
    from sumi.systems.published.artist import PublishedArtist

    if choice.model is not None:
        raise SumiError("export takes its model as SOURCE, not as --model")
    with Screen("loading the model"):
        artist = replace(choice, model=source).load()
        if not isinstance(artist, PublishedArtist):
            raise SumiError(f"{source} is a model of Sumi's own, whose networks diffusers has no classes for")
        written = export_diffusers(artist.loader.opened, artist.networks, Path(target))
    click.echo(str(written))
