"""`sumi rights`: which models were trained on a picture."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sumi.cli.options import json_option
from sumi.cli.streams import escape_text
from sumi.cli.suggestions import SuggestingGroup
from sumi.errors import SumiError


@click.group(cls=SuggestingGroup)
def rights() -> None:
    """Ask which models were trained on a picture."""


@rights.command("who-saw")
@click.argument("picture", metavar="PICTURE")
@click.option(
    "--among",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where models lie; repeatable. [default: runs, the model that draws, the adapters]",
)
@json_option
def who_saw_picture(picture: str, among: tuple[Path, ...], as_json: bool) -> int:
    """Name every model and adapter whose training set held PICTURE or a near-duplicate of it.

    Training on own pictures leaves a list of them beside the model. The status is 1 where a model saw the picture.
    """  # fmt: skip
    from sumi.bundles import default_bundle
    from sumi.bundles.adapter_folder import adapters_folder
    from sumi.curation.fingerprint import fingerprint_of, make_view
    from sumi.curation.training_manifest import find_manifests, who_saw
    from sumi.imaging.image_file import open_image, rgba

    for folder in among:
        if not folder.is_dir():
            raise SumiError(f"there is no folder {str(folder)!r}: --among takes a folder of models")
    image = rgba(open_image(picture))
    fingerprint = fingerprint_of(Path(picture).read_bytes(), image, make_view(image))
    roots = among or tuple(path for path in (Path("runs"), default_bundle(), adapters_folder()) if path.is_dir())
    manifests = list(find_manifests(roots))
    found = list(who_saw(fingerprint, image, iter(manifests)))
    if as_json:
        click.echo(json.dumps({
            "path": picture, "sha256": fingerprint.sha256, "phash": fingerprint.phash,
            "asked": [str(one.folder) for one in manifests], "seen_by": [one.to_json() for one in found],
        }))  # fmt: skip
        return int(bool(found))
    for one in found:
        how = one.kind if one.kind == "same file" else f"{one.kind}, {one.bits} of 256 bits differ"
        whose = ", ".join(filter(None, (one.licence or "no licence named", one.author)))
        click.echo(escape_text(f"{one.model}: {one.name} ({how}; {whose})"))
    pictures = sum(len(one.names) for one in manifests)
    click.echo(
        f"{len({one.model for one in found}):,} of {len(manifests):,} models saw it; they say of {pictures:,} pictures "
        "that they learned from them"
    )
    return int(bool(found))
