"""`sumi store`: what a server keeps, checked, copied, and rebuilt from the pictures."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.options import data_option, database_option, pictures_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.store import RecoveredPicture

SHOWN = 20


@click.group()
def store() -> None:
    """Check, back up and restore what a server keeps."""


@store.command()
@data_option
@database_option
@pictures_option
def check(data: str, database: str | None, pictures: str | None) -> None:
    """Read the whole database and every picture, and say what is wrong; status 1 where anything is."""
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as opened:
        faults, unknown = opened.integrity_check(), opened.unknown_files()
        count = sum(1 for _ in opened.files.digests())
        orphans = sum(1 for _ in opened.files.orphans())
    for fault in faults:
        click.echo(fault)
    click.echo(f"{count} files, {len(unknown)} that the database does not know, {orphans} put aside in orphans/")
    if unknown:
        click.echo("sumi store restore gives rows to those that say how they were drawn")
    click.echo(f"{len(faults)} faults" if faults else "no fault")
    sys.exit(bool(faults))


@store.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@data_option
@database_option
@pictures_option
def backup(folder: Path, data: str, database: str | None, pictures: str | None) -> None:
    """Copy the store into a new FOLDER, also while a server uses it; the copy is a store that can be served."""
    from sumi.store import backup as copy
    from sumi.store import open_store

    with open_store(data, database, pictures=pictures) as opened:
        count, lost = copy(opened, folder)
    click.echo(f"{count} files and every row are in {folder}")
    if lost:
        click.echo(f"{len(lost)} files are missing or damaged and were left out; a server draws them again", err=True)


@store.command()
@click.option("--key", "key_id", default="local", show_default=True, metavar="ID", help="Whose the pictures will be.")
@data_option
@database_option
@pictures_option
def restore(key_id: str, data: str, database: str | None, pictures: str | None) -> None:
    """Rebuild the rows of pictures that the database does not know, from the recipes inside the PNG files.

    For a database that was lost or emptied, or is older than the pictures. Stop the server first.
    """
    from sumi.store import open_store
    from sumi.store import restore as rebuild

    with open_store(data, database, pictures=pictures, adopt=True) as opened:
        if key_id not in {key.id for key in opened.keys.all()}:
            raise SumiError(f"there is no key {key_id[:40]!r}: `sumi keys list` shows them")
        restored = rebuild(opened, read_recovered_picture, key_id)
    click.echo(f"{restored.pictures} pictures have rows again")
    if restored.unreadable:
        click.echo(f"{len(restored.unreadable)} files hold no recipe and stay where they are:", err=True)
        for digest in restored.unreadable[:SHOWN]:
            click.echo(f"  {digest}", err=True)


def read_recovered_picture(data: bytes) -> RecoveredPicture | None:
    """What a PNG of ours says of itself; None for any other file."""
    from sumi.imaging.image_file import read_image
    from sumi.pipelines.recipe import recipe_in
    from sumi.serving.job_spec import JobSpec, search_prompt
    from sumi.store import NewPicture, RecoveredPicture

    try:
        image = read_image(io.BytesIO(data), "the file")
        recipe = recipe_in(image, "the file")
        spec = JobSpec(recipe.request())
    except SumiError:
        return None
    drawn = NewPicture(data, "image/png", *image.size, recipe.prompt or search_prompt(spec), recipe.to_json())
    return RecoveredPicture(spec.kind, spec.to_json(), drawn)
