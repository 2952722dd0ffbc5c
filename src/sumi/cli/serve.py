"""`sumi serve`: one model behind an HTTP API, for this machine alone or, with keys, for others."""

from __future__ import annotations

import click

from sumi.cli.options import data_option, database_option, model_option
from sumi.errors import SumiError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other needs keys.")
@click.option("--port", type=int, default=8080, show_default=True, help="Port to listen on; 0 is any that is free.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Another host that it answers as; repeatable.")
@data_option
@database_option
@model_option
def serve(host: str, port: int, names: tuple[str, ...], data: str, database: str | None, model: str | None) -> None:
    """Draw for whoever asks over HTTP.

    Without a key in its store it listens on 127.0.0.1 only, and asks for none. Once there is one (`sumi keys create`),
    every request needs a key.
    """
    import logging

    from sumi.store import open_store

    with open_store(data, database) as store:
        from sumi.serving.settings import Settings, needs_keys

        settings = Settings(host=host, port=port, names=names, keyed=needs_keys(store))

        import sumi
        from sumi.serving.app import create_app, server

        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        artist = sumi.load(model)
        if not isinstance(artist, sumi.Sumi):
            raise SumiError(f"the model {artist.model.name} is of the lineage, and is drawn with by sumi generate")
        app = create_app(artist, store, settings)
        asks = "with keys" if settings.keyed else "for this machine alone, without keys"
        click.echo(f"listening on http://{settings.authority}/v1 {asks}; stop it with Ctrl+C", err=True)
        server(app, settings).run()
