"""A data set as frozen networks see it: embeddings and latents in shards, computed once.

    00000.safetensors    z_i (n, D), z_t (n, D), latents (n, C, H, W)
    00000.json           {"key": ..., "names": [...], "captions": [...]}
    index.json           {"format": 1, "shards": S, "pictures": N, "encoders": {"clip": sha256, "codec": sha256}, ...}

The key of a shard is the hash of everything that it depends on: the files of its pictures, their captions, the size and
the hashes of the encoders. A shard with the key that is due stays, every other is computed again. So a build goes on
where it was stopped, and another encoder or a changed picture renews exactly what depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.bundles import Bundle
from sumi.codecs import Codec
from sumi.conditioning import CLIP
from sumi.curation.engine import map_records
from sumi.data.picture_dataset import PictureDataset, PictureRecord
from sumi.errors import SumiError
from sumi.imaging.pixels import from_image, from_levels

__all__ = ["Build", "build_shards", "read_shards"]

INDEX, FORMAT = "index.json", 1
SHARD, BATCH = 512, 32


@dataclass(frozen=True)
class Build:
    """What a build did.

    Attributes:
        folder: of the shards.
        shards, pictures: how many there are.
        computed: shards that were computed; the others were there.
        faults: a line for each picture that cannot be read.
    """

    folder: Path
    shards: int
    pictures: int
    computed: int
    faults: tuple[str, ...]


def build_shards(
    dataset: PictureDataset,
    bundle: Bundle,
    folder: Path,
    size_px: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    engine: str = "local",
    shard: int = SHARD,
) -> Build:
    """Write the embeddings and latents of a data set, and return what was done.

    Args:
        dataset: the pictures.
        bundle: the model whose CLIP, and codec if it has one, are the encoders.
        folder: of the shards; new, or of an earlier build.
        size_px: side of the pictures that the codec sees; by default what CLIP sees.
        progress: called after each shard with (pictures done, pictures in all).
        engine: where pictures are opened, "local" or "ray".
        shard: pictures in a shard.

    Raises:
        SumiError: when the folder holds something else, or the model has no CLIP of Sumi's.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / INDEX).is_file():
        raise SumiError(f"{folder} is not empty and holds no shards: choose another --out")
    encoders = {name: bundle.hashes.get(name, "") for name in ("clip", "codec") if name in bundle.parts}
    clip, codec = bundle.part("clip"), bundle.part("codec") if "codec" in encoders else None
    if not isinstance(clip, CLIP):
        raise SumiError(f"the model {bundle.name} has no CLIP of Sumi's")
    size_px = size_px or clip.size_px
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"format": FORMAT, "size_px": size_px, "encoders": encoders}
    write_atomic(folder / INDEX, json.dumps({**plan, "complete": False}))
    computed, pictures, faults = 0, 0, list[str]()
    starts = range(0, len(dataset), shard)
    for number, start in enumerate(starts):
        records = dataset[start : start + shard]
        key, stem = _key_of(records, plan), folder / f"{number:05d}"
        known = _read_row(stem)
        if known is None or known["key"] != key:
            opened = map_records(partial(_open_levels, sizes_px=(clip.size_px, size_px)), records, engine)
            known = _write_shard(stem, key, records, opened, clip, codec, bundle.tokenizer().encode)
            computed += 1
        pictures += len(known["names"])
        faults += known["faults"]
        progress(min(start + shard, len(dataset)), len(dataset))
    for path in folder.glob("[0-9][0-9][0-9][0-9][0-9].*"):
        if int(path.stem) >= len(starts):
            path.unlink()  # of an earlier build of more pictures
    done = {**plan, "complete": True, "shards": len(starts), "pictures": pictures, "place": dataset.place}
    write_atomic(folder / INDEX, json.dumps(done))
    return Build(folder, len(starts), pictures, computed, tuple(faults))


def read_shards(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Yield the names and captions of each shard, and its tensors.

    Raises:
        SumiError: when the build is missing, unfinished or damaged.
    """
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        raise SumiError(f"there are no shards in {folder}: make them with sumi data build") from None
    if not index.get("complete"):
        raise SumiError(f"the shards in {folder} are unfinished: the same sumi data build goes on")
    for number in range(index["shards"]):
        stem = folder / f"{number:05d}"
        row = _read_row(stem)
        if row is None:
            raise SumiError(f"{stem}.safetensors is missing or damaged: the same sumi data build makes it again")
        yield row, load(stem.with_suffix(".safetensors").read_bytes())


def _open_levels(record: PictureRecord, sizes_px: Sequence[int]) -> list[Tensor] | str:
    """Return a picture as uint8 (4, S, S) at each size, or why it cannot be read."""
    try:
        image = record.open()
    except SumiError as error:
        return str(error)
    return [from_image(image, size) for size in sizes_px]


def _key_of(records: Sequence[PictureRecord], plan: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode())
    for record in records:
        digest.update(json.dumps([record.name, record.caption]).encode())
        try:
            digest.update(hashlib.sha256(record.read()).digest())
        except (SumiError, OSError):
            digest.update(b"unreadable")
    return digest.hexdigest()


def _read_row(stem: Path) -> dict[str, Any] | None:
    """Return what is written about a shard; None where it or its tensors are missing or damaged."""
    try:
        row = json.loads(stem.with_suffix(".json").read_text("utf-8"))
        whole = hashlib.sha256(stem.with_suffix(".safetensors").read_bytes()).hexdigest() == row["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(row) if whole else None


@torch.no_grad()
def _write_shard(
    stem: Path,
    key: str,
    records: Sequence[PictureRecord],
    opened: Iterator[list[Tensor] | str],
    clip: CLIP,
    codec: Any,
    encode: Callable[[Sequence[str]], Tensor],
) -> dict[str, Any]:
    """Compute a shard, write its tensors and then its row, and return the row."""
    pairs = [(record, levels) for record, levels in zip(records, opened, strict=True)]
    sound = [(record, levels) for record, levels in pairs if not isinstance(levels, str)]
    captions = [record.caption for record, _ in sound]
    names = ("z_i", "z_t", "latents") if isinstance(codec, Codec) else ("z_i", "z_t")
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for at in range(0, len(sound), BATCH):
        some = sound[at : at + BATCH]
        small, large = (torch.stack([levels[which] for _, levels in some]) for which in (0, 1))
        parts["z_i"].append(clip.encode_image(from_levels(small)))
        parts["z_t"].append(clip.encode_text(encode(captions[at : at + BATCH]))[0])
        if "latents" in parts:
            parts["latents"].append(codec.encode(from_levels(large)))
    tensors = {name: torch.cat(rows).half().contiguous() for name, rows in parts.items() if rows}
    data = save(tensors)
    row = {
        "key": key,
        "sha256": hashlib.sha256(data).hexdigest(),
        "names": [record.name for record, _ in sound],
        "captions": captions,
        "faults": [levels for _, levels in pairs if isinstance(levels, str)],
    }
    write_atomic(stem.with_suffix(".safetensors"), data)
    write_atomic(stem.with_suffix(".json"), json.dumps(row, ensure_ascii=False))
    return row
