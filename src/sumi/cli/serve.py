"""`sumi serve`: one model behind an HTTP API, for this machine alone or, with keys, for others; and its options."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.options import Command, data_option, database_option, model_option, pictures_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sumi.pipelines import Artist
    from sumi.serving.settings import ServerSettings
    from sumi.store import Store


def listening_options(command: Command) -> Command:
    """Give a command what every server has; those of its `Settings` are for `listening`."""
    shared = (
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other needs keys."
        ),
        click.option(
            "--port", type=int, default=8080, show_default=True, help="Port to listen on; 0 is any that is free."
        ),
        click.option(
            "--name", "names", multiple=True, metavar="HOST", help="Another host that it answers as; repeatable."
        ),
        click.option(
            "--public-url",
            metavar="URL",
            help="Its address behind a proxy, as browsers know it: https://example.org/sumi.",
        ),
        click.option(
            "--origin", "origins", multiple=True, metavar="URL", help="Another site whose pages may ask; repeatable."
        ),
        click.option("--socket", metavar="FILE", help="Listen at this Unix socket instead of host and port."),
        click.option("--running", type=int, metavar="N", help="Jobs drawn together, 1 one after another; default 64."),
        click.option("--queued", type=int, metavar="N", help="Jobs that may wait; default 256."),
        data_option,
        database_option,
        pictures_option,
        model_option,
    )
    for option in reversed(shared):
        command = option(command)
    return command


@click.command()
@listening_options
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="In this process, or in replicas of Ray Serve that share one PostgreSQL.",
)
@click.option("--replicas", type=int, metavar="N", help="With --engine ray: the most of them; default 2.")
def serve(
    host: str,
    port: int,
    names: tuple[str, ...],
    data: str,
    database: str | None,
    pictures: str | None,
    model: str | None,
    engine: str,
    replicas: int | None,
    **more: Any,
) -> None:
    """Draw for whoever asks over HTTP.

    Without a key in its store it listens on 127.0.0.1 only, and asks for none. Once there is one (`sumi keys create`),
    every request needs a key.
    """
    from sumi.store import open_store

    if engine == "ray":
        from sumi.serving.replicas import RUNNING, ReplicaConfig
        from sumi.serving.replicas import run as run_fleet

        more["running"] = RUNNING if more["running"] is None else more["running"]
    elif replicas is not None:
        raise SumiError("--replicas is for --engine ray: this process has one engine")
    with open_store(data, database, pictures=pictures) as store:
        settings = settings_of(store, host=host, port=port, host_names=names, **more)
        asks = "with keys" if settings.require_keys else "for this machine alone, without keys"
        told = "listening on http://{}/v1 " + f"{asks}; stop it with Ctrl+C"
        if engine == "local":
            run(application(store, settings, model), settings, told)
            return
    places = (os.path.abspath(data), on_every_machine(pictures), on_every_machine(model))
    fleet = ReplicaConfig(database or "", settings, *places, replicas=2 if replicas is None else replicas)
    loaded(model)  # what is wrong with it is said here, in one line
    run_fleet(fleet, lambda: click.echo(told.format(settings.authority), err=True))


def settings_of(store: Store, *, running: int | None, queued: int | None, **how: Any) -> ServerSettings:
    """The settings of a server that was asked for so."""
    from sumi.serving.scheduler import SchedulerLimits
    from sumi.serving.settings import ServerSettings, needs_keys

    if queued is not None:
        how["queued"] = queued
    limits = SchedulerLimits() if running is None else SchedulerLimits(running=running)
    return ServerSettings(require_keys=needs_keys(store), limits=limits, **how)


def on_every_machine(place: str | None) -> str | None:
    """A place as it is called from any folder."""
    return place if place is None or "://" in place else os.path.abspath(place)


def application(store: Store, settings: ServerSettings, model: str | None) -> FastAPI:
    """Load the model and put it behind the API; SumiError for one that cannot be served."""
    from sumi.serving.app import create_app

    return create_app(loaded(model), store, settings)


def loaded(model: str | None) -> Artist:
    """Load a model, of any system."""
    import sumi

    return sumi.load(model)


def run(app: FastAPI, settings: ServerSettings, told: str) -> None:
    """Listen, say so, the address in the place of {}, and answer until somebody stops it."""
    import logging

    from sumi.serving.app import make_server, open_socket
    from sumi.serving.log_rate import LogRateFilter

    handler = logging.StreamHandler()
    handler.addFilter(LogRateFilter())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    door = open_socket(settings)
    if settings.socket is None:
        told = told.format(replace(settings, port=door.getsockname()[1]).authority)
    else:
        told = told.replace("http://{}", f"the socket {settings.socket} with ")
    click.echo(told, err=True)
    try:
        make_server(app, settings).run([door])
    finally:
        if settings.socket is not None:
            Path(settings.socket).unlink(missing_ok=True)
