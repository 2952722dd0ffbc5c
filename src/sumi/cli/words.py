"""`sumi words`: what a model knows, in the words that it takes."""

from __future__ import annotations

import json

import click

from sumi.cli.options import json_option, model_option


@click.command()
@model_option
@json_option
def words(model: str | None, as_json: bool) -> None:
    """List what a model knows: things, people, colours, sizes, numbers, places and styles."""
    from sumi.bundles import Bundle, default_bundle
    from sumi.conditioning.lexicon import Lexicon

    bundle = Bundle.load(default_bundle() if model is None else model)
    lexicon = Lexicon(bundle.vocabulary)
    known = lexicon.list_entries()
    if as_json:
        click.echo(json.dumps({"model": bundle.name, **known}))
        return
    for name, entries in known.items():
        texts = [f"{entry} ({', '.join(others)})" if others else entry for entry, others in entries.items()]
        click.echo(f"{name} ({len(entries)}): {', '.join(texts)}\n")
