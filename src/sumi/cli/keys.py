"""`sumi keys`: who may use a server, for what, and how much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from sumi.cli.options import store_options
from sumi.cli.suggestions import SuggestingGroup

if TYPE_CHECKING:
    from sumi.store import Key

DAY_S = 86400


@click.group(cls=SuggestingGroup)
def keys() -> None:
    """Make, list and revoke the keys of a server."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=("draw", "read"), show_default=True, metavar="SCOPE",
    help="draw, read or admin; may be repeated.",
)  # fmt: skip
@click.option("--days", type=float, help="Days until it expires; default never.")
@click.option("--requests", "requests_per_minute", type=int, metavar="N", help="Requests a minute; default any.")
@click.option("--jobs", "concurrent_jobs", type=int, metavar="N", help="Unfinished jobs at one time; default any.")
@click.option(
    "--pixel-steps", "pixel_steps_per_day", type=int, metavar="N", help="Pixels times steps a day; default any."
)
@store_options
def create(
    name: str,
    scopes: tuple[str, ...],
    days: float | None,
    data: str,
    database: str | None,
    pictures: str | None,
    **limits: int | None,
) -> None:
    """Make a key for NAME and print its token. The token is not stored and not shown again."""
    from sumi.store import Limits, open_store

    with open_store(data, database, pictures=pictures) as store:
        lifetime_s = None if days is None else days * DAY_S
        made = store.keys.create(name, scopes=scopes, lifetime_s=lifetime_s, limits=Limits(**limits))
    click.echo(made.token)
    click.echo(f"{made.key.id} for {name}: save the token, it is not shown again", err=True)


@keys.command(name="list")
@store_options
def list_(data: str, database: str | None, pictures: str | None) -> None:
    """List the keys, the oldest first."""
    from sumi.store import LOCAL, open_store

    with open_store(data, database, pictures=pictures) as store:
        for key in store.keys.all():
            if key.id != LOCAL:
                click.echo(f"{key.id}  {key.hint}...  {','.join(key.scopes):15}  {describe_status(key):20}  {key.name}")


@keys.command()
@click.argument("key_id", metavar="ID")
@store_options
def revoke(key_id: str, data: str, database: str | None, pictures: str | None) -> None:
    """Revoke the key ID at once and for good. Its pictures stay."""
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as store:
        key = store.keys.revoke(key_id)
    click.echo(f"{key.id} ({key.name}) is revoked")


def describe_status(key: Key) -> str:
    """Return whether a key is valid, in words."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    day = time.strftime("%Y-%m-%d", time.gmtime(key.expires_at))
    return f"valid until {day}" if time.time() < key.expires_at else f"expired {day}"
