"""`sumi studio`: the page for artists, on top of everything that `sumi serve` does."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from sumi.cli.serve import application, listening_options, run, settings_of
from sumi.errors import SumiError


@click.command()
@listening_options
def studio(
    host: str,
    port: int,
    names: tuple[str, ...],
    data: str,
    database: str | None,
    pictures: str | None,
    model: str | None,
    **more: Any,
) -> None:
    """Draw in a browser.

    Open the address that it prints. The API of `sumi serve` is there as well, under the same rules for keys.
    """
    if missing := [name for name in ("fastapi", "gradio", "vtracer") if importlib.util.find_spec(name) is None]:
        raise SumiError(f"the studio needs {' and '.join(missing)}: pip install -e '.[studio]'")
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as store:
        from sumi.studio import PAGES, add_studio

        settings = settings_of(store, host=host, port=port, host_names=names, public_paths=PAGES, **more)
        app = application(store, settings, model)
        add_studio(app)
        asks = "; it asks for a key" if settings.require_keys else ""
        run(app, settings, "the studio is at http://{}/studio/" + f"{asks}; stop it with Ctrl+C")
