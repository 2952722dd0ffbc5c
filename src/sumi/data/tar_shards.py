"""Tar shards as WebDataset and img2dataset write them: the files of a sample share a name.

    00000.tar:  000000000.jpg  000000000.txt  000000000.json        img2dataset
    any.tar:    cats/fox.png   cats/fox.caption                     a folder as `tar` packs it

A picture's texts have its name up to the last dot, or, as WebDataset has it, up to the first. Only regular files are
read; links and devices are named. A shard is indexed by its headers, and a picture is read at its offset, so a shard is
never unpacked.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sumi.data.captions import SIDECARS, decode_text, parse_json
from sumi.data.image_folder import OTHER_PICTURES, repair_of
from sumi.data.picture_dataset import (
    SUFFIXES,
    PictureDataset,
    PictureRecord,
    clean_text,
    finish_records,
    list_names,
    make_record,
)
from sumi.data.storage import open_file, read_range
from sumi.errors import SumiError
from sumi.imaging.image_file import LARGEST_FILE_BYTES

__all__ = ["SliceBytes", "read_tar_shards"]

LARGEST_TEXT_BYTES = 2**20


@dataclass(frozen=True)
class SliceBytes:
    """Reads a part of a file."""

    place: str
    offset: int
    size: int

    def __call__(self) -> bytes:
        """Return its bytes; SumiError where the file ends before them."""
        return read_range(self.place, self.offset, self.size)


@dataclass
class _Shard:
    """What a shard holds: pictures and texts by their names, and a line for what cannot be used or is not looked at."""

    place: str
    pictures: dict[str, SliceBytes] = field(default_factory=dict)
    texts: dict[str, SliceBytes] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def refuse(self, name: str, why: str) -> None:
        """Name a file that cannot be used."""
        self.broken.append(f"{self.place}: {name} {why}")


def read_tar_shards(place: str, shards: Sequence[str]) -> PictureDataset:
    """Return the pictures of tar files.

    Args:
        place: what was asked for.
        shards: paths or URLs.

    Raises:
        SumiError: when none of them holds a picture, or one is no tar file.
    """
    records: list[PictureRecord] = []
    broken: list[str] = []
    ignored: list[str] = []
    for name in shards:
        shard = _index(name)
        stems = {_stem(picture) for picture in shard.pictures}
        for picture in shard.pictures:
            record = _record(shard, picture, stems)
            if record is not None:
                records.append(record)
        broken += shard.broken
        ignored += [*shard.ignored, *(f"{name}: {text}" for text in shard.texts if text not in shard.used)]
    if not records:
        more = f" ({len(broken)} left out: {broken[0]})" if broken else ""
        raise SumiError(f"there are no pictures in {place}: its tar files should hold PNG, JPEG or WebP files{more}")
    notes = (f"not looked at: {list_names(ignored)}",) if ignored else ()
    return PictureDataset(place, "tar shards", finish_records(records), tuple(broken), notes)


def _index(place: str) -> _Shard:
    """Return the files of a shard; SumiError where it is no tar file."""
    shard = _Shard(place)
    try:
        with open_file(place) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # or tarfile would keep every header
                _take(shard, member)
    except tarfile.TarError as error:
        if not shard.pictures:
            why = "it is compressed, so unpack it with gunzip first" if place.endswith("gz") else str(error)
            raise SumiError(f"{place} is no tar file that can be read: {why}") from None
        shard.refuse(f"the rest, after {len(shard.pictures):,} pictures,", f"is damaged: {error}")
    return shard


def _take(shard: _Shard, member: tarfile.TarInfo) -> None:
    """Note where a file of a shard lies."""
    path = PurePosixPath(member.name)
    if member.isdir() or path.name.startswith("."):
        return
    name, suffix = path.as_posix(), path.suffix.lower()
    part = SliceBytes(shard.place, member.offset_data, member.size)
    if not member.isreg() or member.issparse():
        shard.refuse(name, "is a link or a device, and only regular files are read")
    elif suffix in OTHER_PICTURES:
        shard.refuse(name, f"is a picture of a kind that is not read: {repair_of(suffix)}")
    elif suffix in SUFFIXES:
        if member.size > LARGEST_FILE_BYTES:
            shard.refuse(name, f"is over {LARGEST_FILE_BYTES // 2**20} MB, too large for a picture")
        elif name in shard.pictures:
            shard.refuse(name, "is there twice; the first is taken")
        else:
            shard.pictures[name] = part
    elif suffix in SIDECARS and member.size <= LARGEST_TEXT_BYTES:
        shard.texts[name] = part
    else:
        shard.ignored.append(f"{shard.place}: {name}")


def _record(shard: _Shard, picture: str, stems: set[str]) -> PictureRecord | None:
    """Return the record of a picture; None for a further picture of a sample, such as a mask."""
    own, shared = _stem(picture), _key(picture)
    texts = [text for key in (own, picture) for suffix in SIDECARS if (text := _find(shard, key, suffix))]
    if not texts and shared != own:
        texts = [text for suffix in SIDECARS if (text := _find(shard, shared, suffix))]
        if texts and shared in stems:
            shard.refuse(picture, "is a further picture of its sample; the one without a second ending is taken")
            return None
    captions: list[str] = []
    fields: dict[str, Any] = {}
    for text in texts:
        shard.used.add(text)
        try:
            content = decode_text(shard.texts[text](), f"{shard.place}: {text}")
            if text.lower().endswith(".json"):
                fields = parse_json(content, f"{shard.place}: {text}")
            elif not captions and clean_text(content):
                captions = [clean_text(content)]
        except SumiError as error:
            shard.ignored.append(f"{error}; its picture has no caption")
    part = shard.pictures[picture]
    return make_record(picture, fields, part, (shard.place, part.offset), captions)


def _find(shard: _Shard, key: str, suffix: str) -> str | None:
    return next((name for name in (key + suffix, key + suffix.upper()) if name in shard.texts), None)


def _stem(name: str) -> str:
    """A name up to its last dot."""
    return PurePosixPath(name).with_suffix("").as_posix()


def _key(name: str) -> str:
    """A name up to the first dot of its file."""
    path = PurePosixPath(name)
    return (path.parent / path.name.partition(".")[0]).as_posix()
