"""`sumi studio`: the page for artists, on top of everything that `sumi serve` does."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from sumi.cli.model_choice import ModelChoice
from sumi.cli.serve import make_app, make_settings, run_server, server_options
from sumi.errors import SumiError


@click.command()
@server_options
def studio(data: str, database: str | None, pictures: str | None, choice: ModelChoice, **server: Any) -> None:
    """Draw in a browser.

    Open the address that it prints. The API of `sumi serve` is there too, under the same rules for keys.
    """
    if missing := [name for name in ("fastapi", "gradio", "vtracer") if importlib.util.find_spec(name) is None]:
        raise SumiError(f"the studio needs {' and '.join(missing)}: pip install -e '.[studio]'")
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as store:
        from sumi.studio import PAGES, add_studio

        settings = make_settings(store, public_paths=PAGES, **server)
        app = make_app(store, settings, choice)
        add_studio(app)
        access = "; it asks for a key" if settings.require_keys else ""
        run_server(app, settings, f"the studio is at http://{{}}/studio/{access}; stop it with Ctrl+C")
