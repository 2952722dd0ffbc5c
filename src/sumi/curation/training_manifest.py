"""Which pictures a model was trained on, written beside its weights, and asked for later.

    training_pictures.jsonl.gz    {"format": 1, "pictures": N, "unlicensed": U}
                                  [sha256 of the file, perceptual hash, name, licence, author]    one line a picture

It holds no picture. A file is known again by its hash, and a resized, compressed, mirrored or framed copy by its
perceptual hash. Every training run on own pictures writes one with `write_manifest`; `who_saw` asks all that lie below
some folders. An adapter of `sumi teach` names its pictures by the hashes of their files alone.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.atomic_file import write_atomic
from sumi.bundles.adapter import SUFFIX, AdapterRecord
from sumi.bundles.drawings import DRAWINGS, TrainingDrawings
from sumi.bundles.parts import WEIGHTS
from sumi.bundles.tensors import TensorFile
from sumi.curation.fingerprint import Fingerprint, hash_bits, make_view, mirrored_hash, perceptual_hash
from sumi.curation.picture_rights import NEAR_BITS, PictureRights
from sumi.curation.scan import PictureScan
from sumi.errors import SumiError
from sumi.imaging.pixels import to_image

__all__ = ["MANIFEST", "Sighting", "TrainingManifest", "find_manifests", "query_bits", "who_saw", "write_manifest"]

MANIFEST = "training_pictures.jsonl.gz"
FORMAT = 1
FAR = 256
"""Bits of a perceptual hash."""
DEEPEST = 6
"""Folders below which no manifest is looked for."""
CUTS = (-0.08, -0.04, 0.0, 0.04)
"""Shares of each side that are cut off a picture before it is compared; below 0 its edge is drawn out."""


@dataclass(frozen=True)
class TrainingManifest:
    """The pictures that a model was trained on.

    Attributes:
        folder: of the model; the file of an adapter.
        sha256, phashes, names, licences, authors: of the pictures, in order, "" where it is not known.
    """

    folder: Path
    sha256: tuple[str, ...]
    phashes: tuple[str, ...]
    names: tuple[str, ...]
    licences: tuple[str, ...]
    authors: tuple[str, ...]


@dataclass(frozen=True)
class Sighting:
    """A picture in the training set of a model that is, or looks like, the one asked for.

    Attributes:
        model: folder of the model.
        name, licence, author: of the training picture.
        kind: "same file" or "near-duplicate".
        bits: in which the perceptual hashes differ, of 256.
    """

    model: Path
    name: str
    licence: str
    author: str
    kind: str
    bits: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "model": str(self.model)}


def write_manifest(folder: Path, rights: Sequence[PictureRights], scans: Sequence[PictureScan]) -> Path:
    """Write which pictures a model was trained on into its folder.

    Args:
        folder: of the model; it exists.
        rights: of each picture.
        scans: of each picture.
    """
    unlicensed = sum(one.status == "unlicensed" for one in rights)
    lines: list[Any] = [{"format": FORMAT, "pictures": len(rights), "unlicensed": unlicensed}]
    lines += [
        [scan.fingerprint.sha256, scan.fingerprint.phash, one.name, one.licence, one.author]
        for one, scan in zip(rights, scans, strict=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return write_atomic(folder / MANIFEST, gzip.compress(text.encode(), mtime=0))


def read_manifest(folder: Path) -> TrainingManifest:
    """Return the manifest of a model.

    Raises:
        SumiError: when it is damaged.
    """
    path = folder / MANIFEST
    try:
        head, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode("utf-8").splitlines())
        columns = list(zip(*([str(cell) for cell in row] for row in rows), strict=True)) or [()] * 5
        if head["format"] != FORMAT or len(rows) != head["pictures"] or len(columns) != 5:
            raise ValueError("it has another format")
        if columns[1]:
            hash_bits(columns[1])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise SumiError(f"{path} cannot be read: {error}") from None
    return TrainingManifest(folder, *columns)


def find_manifests(roots: Sequence[Path]) -> Iterator[TrainingManifest]:
    """Yield the manifest of each model below some folders; of a model without one, that of the drawings it carries."""
    seen: set[Path] = set()
    for root in roots:
        for place, folders, files in os.walk(root):
            depth = len(Path(place).relative_to(root).parts)
            folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < DEEPEST else []
            folder = Path(place).resolve()
            if folder in seen:
                continue
            seen.add(folder)
            for name in sorted(files):
                if name.endswith(SUFFIX) and name != WEIGHTS and (manifest := _manifest_of_adapter(Path(place, name))):
                    yield manifest
            if MANIFEST in files:
                yield read_manifest(Path(place))
            elif DRAWINGS in folders and "model_index.json" in files:
                yield _manifest_of_drawings(Path(place))


def _manifest_of_adapter(path: Path) -> TrainingManifest | None:
    """Return the pictures that an adapter names; None for another file."""
    try:
        record = AdapterRecord.from_metadata(TensorFile(path).metadata, path)
    except SumiError:
        return None
    none = ("",) * len(record.pictures)
    return TrainingManifest(path, record.pictures, none, (record.concept,) * len(none), none, none)


def _manifest_of_drawings(folder: Path) -> TrainingManifest:
    drawings = TrainingDrawings.load(folder / DRAWINGS)
    hashes = [perceptual_hash(make_view(to_image(picture).convert("RGBA"))) for picture in drawings.pictures]
    names = [f"{row['concept']} ({row['source']})" for row in drawings.rows]
    licences, authors = ([row[what] for row in drawings.rows] for what in ("licence", "author"))
    return TrainingManifest(folder, ("",) * len(names), tuple(hashes), tuple(names), tuple(licences), tuple(authors))


def who_saw(
    fingerprint: Fingerprint, image: Image.Image, manifests: Iterator[TrainingManifest], most: int = 5
) -> Iterator[Sighting]:
    """Yield, model by model, training pictures that are or look like a picture, nearest first.

    Args:
        fingerprint: of the picture.
        image: the same, upright RGBA.
        manifests: of the models.
        most: of each model.
    """
    asked = query_bits(image)
    for manifest in manifests:
        same = np.array([sha == fingerprint.sha256 for sha in manifest.sha256], dtype=bool)
        bits = np.full(len(same), FAR)
        if hashed := [number for number, phash in enumerate(manifest.phashes) if phash]:
            cosines = (hash_bits([manifest.phashes[number] for number in hashed]) @ asked.T).max(axis=1)
            bits[hashed] = np.rint((1 - cosines) * FAR / 2)
        order = np.lexsort((bits, ~same))[:most]
        for number in order.tolist():
            if same[number] or bits[number] <= NEAR_BITS:
                yield Sighting(
                    manifest.folder, manifest.names[number], manifest.licences[number], manifest.authors[number],
                    "same file" if same[number] else "near-duplicate", 0 if same[number] else int(bits[number]),
                )  # fmt: skip


def query_bits(image: Image.Image) -> NDArray[np.float32]:
    """Return the hashes of a picture, wider and narrower, and of their mirror images, as unit vectors (Q, 256).

    The training picture may have been cut out of the one that is asked for, or the other way round.
    """
    view = make_view(image)
    side = view.shape[-1]
    margin = math.ceil(-min(CUTS) * side)
    wide = np.pad(view, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    page, hashes = Image.fromarray(wide.transpose(1, 2, 0)), []
    for left, top, right, bottom in product(CUTS, repeat=4):
        box = tuple(margin + side * place for place in (left, top, 1 - right, 1 - bottom))
        part = page.resize((side, side), Image.Resampling.BILINEAR, box=box)
        hashes.append(perceptual_hash(np.asarray(part).transpose(2, 0, 1)))
    return hash_bits([*hashes, *map(mirrored_hash, hashes)])
