"""`sumi store`: a server's store checked, copied, and rebuilt from its pictures."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.options import store_options
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.store import RecoveredPicture

MAX_LISTED = 20


@click.group()
def store() -> None:
    """Check, back up and restore a server's store."""


@store.command()
@store_options
def check(data: str, database: str | None, pictures: str | None) -> None:
    """Read the whole database and every picture, and print what is wrong; status 1 where anything is."""
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as opened:
        faults, unknown = opened.integrity_check(), opened.unknown_files()
        count = sum(1 for _ in opened.files.digests())
        orphans = sum(1 for _ in opened.files.orphans())
    for fault in faults:
        click.echo(fault)
    click.echo(f"{count} files, {len(unknown)} unknown to the database, {orphans} in orphans/")
    if unknown:
        click.echo("sumi store restore adds the unknown ones that hold a recipe")
    click.echo(f"{len(faults)} faults" if faults else "no faults")
    sys.exit(bool(faults))


@store.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@store_options
def backup(folder: Path, data: str, database: str | None, pictures: str | None) -> None:
    """Copy the store into a new FOLDER. A server may use it meanwhile. The copy is a store that can be served."""
    from sumi.store import backup_store, open_store

    with open_store(data, database, pictures=pictures) as opened:
        count, lost = backup_store(opened, folder)
    click.echo(f"copied {count} files and every row to {folder}")
    if lost:
        click.echo(f"left out {len(lost)} files that are missing or damaged; a server draws them again", err=True)


@store.command()
@click.option(
    "--key", "key_id", default="local", show_default=True, metavar="ID", help="The new owner of the pictures."
)
@store_options
def restore(key_id: str, data: str, database: str | None, pictures: str | None) -> None:
    """Rebuild the rows of pictures that the database does not know, from the recipes inside the PNG files.

    For a database that was lost or emptied, or that is older than the pictures. Stop the server first.
    """
    from sumi.store import open_store, restore_rows

    with open_store(data, database, pictures=pictures, adopt=True) as opened:
        if key_id not in {key.id for key in opened.keys.all()}:
            raise SumiError(f"there is no key {key_id[:40]!r}; see `sumi keys list`")
        restored = restore_rows(opened, read_recovered_picture, key_id)
    click.echo(f"{restored.pictures} pictures have rows again")
    if restored.unreadable:
        click.echo(f"{len(restored.unreadable)} files hold no recipe and were left alone:", err=True)
        for digest in restored.unreadable[:MAX_LISTED]:
            click.echo(f"  {digest}", err=True)


def read_recovered_picture(data: bytes) -> RecoveredPicture | None:
    """Return what a PNG of ours says about itself; None for any other file."""
    from sumi.imaging.image_file import read_image
    from sumi.pipelines.recipe import recipe_in
    from sumi.serving.job_spec import JobSpec, choose_search_prompt
    from sumi.store import NewPicture, RecoveredPicture

    try:
        image = read_image(io.BytesIO(data), "the file")
        recipe = recipe_in(image, "the file")
        spec = JobSpec(recipe.request())
    except SumiError:
        return None
    picture = NewPicture(data, "image/png", *image.size, recipe.prompt or choose_search_prompt(spec), recipe.to_json())
    return RecoveredPicture(spec.kind, spec.to_json(), picture)
