"""`sumi verify`: what is known of where a picture comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli.options import json_option
from sumi.cli.streams import escape_text

if TYPE_CHECKING:
    from sumi.trust.verify import Provenance

STATES = {
    "trusted": "unchanged since it was signed, under an authority that this machine trusts",
    "valid": "unchanged since it was signed, by somebody whom this machine does not know",
    "invalid": "changed after it was signed, or damaged",
    "absent": "none",
}


@click.command()
@click.argument("file", metavar="FILE")
@json_option
def verify(file: str, as_json: bool) -> int:
    """Say what is known of where FILE comes from: its signature, its history, and the recipe in its metadata.

    FILE is a PNG, JPEG, WebP or GIF from anybody. Marks can be removed and forged, so this proves nothing. The status
    is 1 where the file was changed after it was signed.
    """
    from sumi.imaging import open_image
    from sumi.pipelines.signing import find_certificate
    from sumi.trust.verify import check_provenance

    image = open_image(file)
    certificate = find_certificate()
    anchors = "" if certificate is None else certificate.anchors
    found = check_provenance(Path(file).read_bytes(), image, anchors)
    if as_json:
        click.echo(json.dumps({"path": file, **found.to_json()}))
    else:
        for name, value in rows(found):
            click.echo(f"{name:<14}{escape_text(value)}")
    return int(found.manifest.state == "invalid")


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
    return [(name, str(value)) for name, value in pairs if value]
