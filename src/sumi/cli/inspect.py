"""`sumi inspect`: what a file or folder of weights is, before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path

import click

from sumi.cli.options import json_option


@click.command()
@click.argument("path")
@json_option
def inspect(path: str, as_json: bool) -> None:
    """Say what PATH is: its system, parts, parameters, dtypes, sizes and licence.

    PATH is a folder of diffusers, transformers, open_clip or Sumi, or a file in safetensors or of torch.save. Nothing
    of it is executed.
    """
    from sumi.bundles.published import inspect as inspect_weights

    found = inspect_weights(Path(path))
    if as_json:
        import json

        click.echo(json.dumps(found.as_json()))
    else:
        click.echo(found.text())
