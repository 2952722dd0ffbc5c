"""`sumi verify`: what is known of where a picture comes from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.options import data_option, json_option
from sumi.cli.streams import escape_text
from sumi.errors import SumiError

if TYPE_CHECKING:
    from PIL import Image

    from sumi.trust.verify import Provenance

MOST_SIMILAR = 3
STATES = {
    "trusted": "unchanged since it was signed, under an authority that this machine trusts",
    "valid": "unchanged since it was signed, by somebody whom this machine does not know",
    "invalid": "changed after it was signed, or damaged",
    "absent": "none",
}


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@data_option
@json_option
def verify(files: tuple[str, ...], data: str, as_json: bool) -> int:
    """Say what is known of where each FILE comes from.

    This reads its signature and its history, the recipe in its metadata, and the watermark in its pixels, and looks for
    similar pictures in the server's store, if there is one in DIR. FILE is a PNG, JPEG, WebP or GIF from anybody. Marks
    can be removed and forged, so this proves nothing. The status is 1 where a file was changed after it was signed.
    With --json, each file is one line. A file that cannot be read is named, the others are still checked, and the
    status is 2.
    """
    from sumi.pipelines.signing import find_certificate

    certificate = find_certificate()
    anchors = "" if certificate is None else certificate.anchors
    status = 0
    for file in files:
        try:
            found = check_file(file, anchors, data)
        except SumiError as error:
            if len(files) == 1:
                raise
            click.echo(
                json.dumps({"path": file, "error": str(error)}) if as_json else f"error: {error}", err=not as_json
            )
            status = 2
            continue
        status = max(status, int(found.manifest.state == "invalid"))
        if as_json:
            click.echo(json.dumps({"path": file, **found.to_json()}))
            continue
        if len(files) > 1:
            click.echo(f"\n{escape_text(file)}")
        for name, value in rows(found):
            click.echo(f"{name:<14}{escape_text(value)}")
    return status


def check_file(file: str, anchors: str, data: str) -> Provenance:
    """Return what is known of a file, with the pictures of the store in the folder `data` that are like it."""
    from sumi.imaging import open_image
    from sumi.trust.verify import check_provenance
    from sumi.trust.watermark import detect_watermark, find_key

    image, contents = open_image(file), Path(file).read_bytes()
    found = check_provenance(contents, image, anchors)
    return replace(found, watermark=detect_watermark(image, find_key()), similar=search_store(data, contents, image))


def search_store(data: str, contents: bytes, image: Image.Image) -> list[dict[str, Any]] | None:
    """Return the pictures of a store that are nearest to a file; None where there is no store."""
    if not (Path(data) / "sumi.db").exists():
        return None
    from sumi.store import open_store
    from sumi.trust.fingerprint import NEAR, make_fingerprint

    digest = hashlib.sha256(contents).hexdigest()
    with open_store(data) as store:
        found = store.gallery.find_similar(None, make_fingerprint(image), MOST_SIMILAR)
    return [
        {"picture": row.id, "prompt": row.prompt, "distance": bits, "same_file": row.digest == digest}
        for row, bits in found
        if bits < NEAR
    ]


def rows(found: Provenance) -> list[tuple[str, str]]:
    """Return what is known, as names and values for people."""
    manifest = found.manifest
    pairs: list[tuple[str, Any]] = [
        ("signature", STATES[manifest.state]),
        ("signed by", manifest.signer),
        ("signed at", manifest.signed_at),
        ("with", manifest.generator),
        ("source", manifest.source_type),
        ("model", manifest.picture.get("model")),
        ("rights", manifest.picture.get("rights")),
    ]
    for one in manifest.ingredients:
        marks = "without marks" if one["manifest"] == "absent" else f"whose marks are {one['manifest']}"
        pairs.append(("made from", f"{one['title']}, {marks}"))
    pairs += [("fault", fault) for fault in manifest.faults]
    recipe = found.recipe
    if recipe is None:
        pairs.append(("recipe", "none"))
    else:
        of = recipe.get("prompt") or recipe.get("operation")
        signed = {True: "as signed", False: "not the one that was signed", None: "unsigned"}[found.recipe_is_signed]
        signed = "and the signature does not hold" if manifest.state == "invalid" else signed
        pairs.append(("recipe", f"{of}, seed {recipe.get('seed')}, {signed}"))
    mark = found.watermark
    if mark is not None:
        pairs.append(("watermark", f"{'found' if mark.detected else 'not found'}, score {mark.score:.1f}"))
    for near in found.similar or ():
        how = "the same file" if near["same_file"] else f"{near['distance']} of 256 bits apart"
        pairs.append(("in the store", f"{near['picture']}, {near['prompt']}, {how}"))
    return [(name, str(value)) for name, value in pairs if value]
