"""`sumi serve`: one model behind an HTTP API, for this machine alone or, with keys, for others."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.model_choice import ModelChoice, model_options
from sumi.cli.options import Command, store_options
from sumi.errors import SumiError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sumi.serving.settings import ServerSettings
    from sumi.store import Store

ENGINES = click.Choice(["local", "ray"])


def server_options(command: Command) -> Command:
    """Give a command the options of every server, and those that name its store and model."""
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need keys."),
        click.option("--port", type=int, default=8080, show_default=True, help="Port; 0 picks a free one."),
        click.option("--name", "host_names", multiple=True, metavar="HOST", help="Another host name; repeatable."),
        click.option("--public-url", metavar="URL", help="Its address behind a proxy: https://example.org/sumi."),
        click.option("--origin", "origins", multiple=True, metavar="URL", help="A site whose pages may send requests."),
        click.option("--socket", metavar="FILE", help="Listen at this Unix socket, not at host and port."),
        click.option("--running", type=int, metavar="N", help="Jobs drawn together; default 64."),
        click.option("--queued", type=int, metavar="N", help="Jobs that may wait; default 256."),
        store_options,
        model_options,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@server_options
@click.option(
    "--engine", type=ENGINES, default="local", show_default=True,
    help="In this process, or in replicas of Ray Serve that share one PostgreSQL.",
)  # fmt: skip
@click.option("--replicas", "num_replicas", type=int, metavar="N", help="With --engine ray: the maximum; default 2.")
def serve(
    data: str, database: str | None, pictures: str | None, choice: ModelChoice, engine: str, num_replicas: int | None,
    **server: Any,
) -> None:  # fmt: skip
    """Serve a model over HTTP.

    Without a key in its store the server listens on 127.0.0.1 only and asks for none. Once a key exists (`sumi keys
    create`), every request needs one.
    """
    if engine == "ray":
        from sumi.serving.replicas import RUNNING, ReplicaConfig, run_replicas

        server["running"] = RUNNING if server["running"] is None else server["running"]
    elif num_replicas is not None:
        raise SumiError("--replicas needs --engine ray")
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as store:
        settings = make_settings(store, **server)
        access = "with keys" if settings.require_keys else "for this machine alone, without keys"
        message = f"listening on http://{{}}/v1 {access}; stop it with Ctrl+C"
        if engine == "local":
            run_server(make_app(store, settings, choice), settings, message)
            return
    places = (os.path.abspath(data), absolute_place(pictures))
    opened = asdict(choice.absolute())
    config = ReplicaConfig(database or "", settings, *places, opened.pop("model"), num_replicas or 2, opened)
    choice.load()  # so that a bad model fails here, in one line
    run_replicas(config, lambda: click.echo(message.format(settings.authority), err=True))


def make_settings(store: Store, *, running: int | None, queued: int | None, **server: Any) -> ServerSettings:
    """Return the settings that the options ask for."""
    from sumi.serving.scheduler import SchedulerLimits
    from sumi.serving.settings import ServerSettings, needs_keys

    if queued is not None:
        server["queued"] = queued
    limits = SchedulerLimits() if running is None else SchedulerLimits(running=running)
    return ServerSettings(require_keys=needs_keys(store), limits=limits, **server)


def absolute_place(place: str | None) -> str | None:
    """Return a place as it is named from any folder."""
    return place if place is None or "://" in place else os.path.abspath(place)


def make_app(store: Store, settings: ServerSettings, choice: ModelChoice) -> FastAPI:
    """Load a model and return its application."""
    from sumi.serving.app import create_app

    return create_app(choice.load(), store, settings)


def run_server(app: FastAPI, settings: ServerSettings, message: str) -> None:
    """Listen, print a line, and answer until a signal arrives.

    Args:
        app: the application.
        settings: where it listens.
        message: the line to print, with {} for the address.
    """
    import logging

    from sumi.serving.app import make_server, open_socket
    from sumi.serving.log_rate import LogRateFilter

    handler = logging.StreamHandler()
    handler.addFilter(LogRateFilter())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    listener = open_socket(settings)
    if settings.socket is None:
        message = message.format(replace(settings, port=listener.getsockname()[1]).authority)
    else:
        message = message.replace("http://{}", f"the socket {settings.socket} with ")
    click.echo(message, err=True)
    try:
        make_server(app, settings).run([listener])
    finally:
        if settings.socket is not None:
            Path(settings.socket).unlink(missing_ok=True)
