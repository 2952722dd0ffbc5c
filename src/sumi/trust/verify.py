"""What is known about where a picture comes from: its content credentials and the recipe in its metadata.

    file -> C2PA manifest (signed)      trusted, valid, invalid or absent
         -> recipe (unsigned text)      present or absent; whether the manifest names the same one
         -> watermark in the pixels     a score, see `watermark`
         -> fingerprint                 the nearest pictures of a gallery, see `fingerprint`

None of this proves anything. A manifest says who signed these bytes. A recipe is text that anybody can write into a
file. A file without either may still be a picture of ours whose marks somebody removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from sumi.trust.credentials import Manifest, hash_recipe, read_manifest
from sumi.trust.watermark import WatermarkResult

__all__ = ["Provenance", "check_provenance"]

SHOWN: tuple[str, ...] = ("operation", "prompt", "seed", "size", "model", "version")


@dataclass(frozen=True)
class Provenance:
    """What is known about a picture.

    Attributes:
        manifest: its content credentials.
        recipe: fields of the recipe in its metadata; None where it has none.
        recipe_is_signed: whether the manifest holds and names this very recipe; None where one of the two is absent.
        watermark: what the detector found; None where it did not look.
        similar: the nearest pictures of a gallery: id, prompt, distance in bits of 256, and how they match (the same
            file, or similar); None where no gallery was searched.
    """

    manifest: Manifest
    recipe: Mapping[str, Any] | None = field(default=None)
    recipe_is_signed: bool | None = None
    watermark: WatermarkResult | None = None
    similar: Sequence[Mapping[str, Any]] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether anything says that Sumi drew it: a manifest that holds, or a recipe."""
        return self.recipe is not None or (self.manifest.state in ("trusted", "valid") and bool(self.manifest.picture))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        recipe = None if self.recipe is None else {**self.recipe, "signed": self.recipe_is_signed}
        found = {"c2pa": self.manifest.to_json(), "recipe": recipe}
        found |= {} if self.watermark is None else {"watermark": self.watermark.to_json()}
        return found | ({} if self.similar is None else {"similar": list(self.similar)})


def check_provenance(data: bytes, image: Image.Image, anchors: str = "") -> Provenance:
    """Return what is known about a picture.

    Args:
        data: its file.
        image: the same, opened.
        anchors: certificates of the authorities to trust, as PEM.
    """
    manifest, recipe = read_manifest(data, anchors), read_recipe_text(image)
    if recipe is None:
        return Provenance(manifest)
    signed = None
    if manifest.picture:
        holds = manifest.state in ("trusted", "valid")
        signed = holds and manifest.picture.get("recipe_sha256") == _hash(recipe)
    shown = {name: recipe[name] for name in SHOWN if isinstance(recipe.get(name), str | int)}
    return Provenance(manifest, shown, signed)


def read_recipe_text(image: Image.Image) -> dict[str, Any] | None:
    """Return the recipe in a picture's metadata as JSON values; None where there is none, or no JSON object."""
    text = image.info.get("sumi")
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _hash(recipe: Mapping[str, Any]) -> str | None:
    try:
        return hash_recipe(recipe)
    except ValueError:  # NaN, which Sumi never writes
        return None
