"""`sumi pull`: a published model from a model hub."""

from __future__ import annotations

from pathlib import Path

import click

from sumi.cli.options import json_option


@click.command()
@click.argument("name", metavar="OWNER/NAME[@REVISION]")
@click.option("--to", metavar="DIR", help="Folder for the files; default the hub's cache, which models share.")
@click.option("--variant", metavar="NAME", help="Variant of the weights, as fp16; default those without one.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Further files, as v1-5-pruned.ckpt; may be repeated."
)
@click.option("--offline", is_flag=True, help="Ask nobody; take what the cache has.")
@json_option
def pull(
    name: str, to: str | None, variant: str | None, include: tuple[str, ...], offline: bool, as_json: bool
) -> None:
    """Fetch a model by its name on the hub, and say what it is. What was broken off is resumed.

    REVISION is a branch, tag or commit. HF_TOKEN opens models that ask for it; HF_ENDPOINT names another hub.
    """
    from sumi.bundles.published import inspect
    from sumi.bundles.published import pull as pull_model

    pulled = pull_model(name, None if to is None else Path(to), variant, include, offline)
    found = inspect(pulled.folder)
    if as_json:
        import json

        click.echo(json.dumps(found.as_json() | {"commit": pulled.commit}))
    else:
        click.echo(f"{found.text()}\ncommit: {pulled.commit}\n{pulled.folder}")
