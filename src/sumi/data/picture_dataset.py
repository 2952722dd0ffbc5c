"""One protocol for the pictures that people own, however they are stored.

    dataset = open_dataset("my-pictures")      # a folder, tar shards, parquet files, a directory of `datasets`
    for record in dataset:  record.captions, record.label, record.rights, record.open()

A `PictureRecord` holds what the source says about a picture, and where its bytes lie. The bytes are read when `read` or
`open` is called, so a data set takes little memory. Records and readers can be pickled, so workers can share them.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, overload

from PIL import Image

from sumi.errors import SumiError
from sumi.imaging.image_file import read_image, rgba

__all__ = [
    "CAPTION_FIELDS",
    "LABEL_FIELDS",
    "NAME_FIELDS",
    "RIGHTS_FIELDS",
    "SUFFIXES",
    "PictureDataset",
    "PictureRecord",
    "clean_text",
    "finish_records",
    "list_names",
    "make_record",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of picture files that are read."""
NAME_FIELDS = ("file_name", "filename", "file", "image", "path")
"""Fields that name the file of a picture; the first of them that a row has counts, as in the other tables."""
CAPTION_FIELDS = ("text", "caption", "captions", "prompt", "description")
"""Fields that hold a caption, or a list of captions."""
LABEL_FIELDS = ("label", "labels", "class", "class_name", "category")
"""Fields that hold the name of a class."""
RIGHTS_FIELDS: Mapping[str, tuple[str, ...]] = {
    "source": ("source", "dataset", "collection"),
    "url": ("url", "image_url", "original_url"),
    "licence": ("license", "licence", "license_name", "rights"),
    "author": ("author", "artist", "creator", "photographer", "credit"),
    "consent": ("consent",),
    "evidence": ("evidence", "proof", "license_url", "licence_url"),
}
"""What is known about the rights of a picture, and the fields that hold it."""
SPLITS = frozenset({"train", "training", "validation", "valid", "val", "test", "testing"})
"""Names of folders that say nothing about what a picture shows."""
LONGEST_CAPTION = 2000


class ReadBytes(Protocol):
    """Reads the bytes of one picture."""

    def __call__(self) -> bytes:
        """Return the bytes of the picture's file; SumiError or OSError where they cannot be read."""
        ...


@dataclass(frozen=True)
class PictureRecord:
    """One picture, and what its source says about it.

    Attributes:
        name: its path within the data set, unique there.
        captions: every caption, each on one line; empty where nothing describes it.
        label: the name of its class, "" where it has none.
        rights: what is known of source, url, licence, author, consent and evidence; see RIGHTS_FIELDS.
        fields: everything else that its row says, as it stands there.
        read: returns the bytes of its file.
        position: the file and the place in it where the bytes lie; reading in this order is fastest.
        path: its own file on this machine, None where it lies within another file.
    """

    name: str
    captions: tuple[str, ...]
    label: str
    rights: Mapping[str, str]
    fields: Mapping[str, Any]
    read: ReadBytes = field(repr=False)
    position: tuple[str, int] = ("", 0)
    path: Path | None = None

    @property
    def caption(self) -> str:
        """The first caption, "" where there is none."""
        return self.captions[0] if self.captions else ""

    @property
    def location(self) -> str:
        """Where it lies, for messages."""
        return str(self.path) if self.path is not None else f"{self.position[0]}: {self.name}"

    def open(self) -> Image.Image:
        """Return the picture upright, as straight 8-bit RGBA in sRGB, whatever its mode, profile and orientation.

        Raises:
            SumiError: when it is missing, damaged, too large or of another format.
        """
        named = ascii(self.location) if not self.location.isprintable() else self.location
        try:
            data = self.read()
        except OSError as error:
            raise SumiError(f"cannot read the picture {named}: {error.strerror or error}") from None
        try:
            return rgba(read_image(io.BytesIO(data), named))
        except SumiError as error:
            raise SumiError(str(error).replace("the picture given", f"the picture {named}")) from None


@dataclass(frozen=True)
class PictureDataset(Sequence[PictureRecord]):
    """Pictures in the order of their names, without their endings, whichever way they are stored.

    Attributes:
        place: what was opened: a folder, a file, a pattern or a URL.
        kind: "image folder", "tar shards", "parquet" or "datasets directory".
        records: the pictures.
        broken: a line for each sample that cannot be used, with the reason.
        notes: what else was not looked at.
    """

    place: str
    kind: str
    records: Sequence[PictureRecord] = field(repr=False)
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> PictureRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PictureRecord]: ...
    def __getitem__(self, index: int | slice) -> PictureRecord | Sequence[PictureRecord]:
        return self.records[index]

    def __iter__(self) -> Iterator[PictureRecord]:
        return iter(self.records)


def make_record(
    name: str,
    fields: Mapping[str, Any],
    read: ReadBytes,
    position: tuple[str, int],
    captions: Sequence[str] = (),
    path: Path | None = None,
) -> PictureRecord:
    """Return the record of a picture from the fields of its row.

    Args:
        name: its path within the data set.
        fields: of its row, by their names in any case; captions, label and rights are taken out of them.
        read: returns its bytes.
        position: the file and the place in it where they lie.
        captions: those that were found elsewhere, in place of the row's.
        path: its own file, if it has one.
    """
    rest = {key: value for key, value in fields.items() if value is not None}
    by_name = {key.casefold(): key for key in rest}

    def take(names: Sequence[str]) -> Any:
        key = next((by_name[name] for name in names if name in by_name), None)
        return None if key is None else rest.pop(key, None)

    given, label = take(CAPTION_FIELDS), take(LABEL_FIELDS)
    rights = {what: clean_text(str(value)) for what, names in RIGHTS_FIELDS.items() if (value := take(names))}
    texts = tuple(captions) or read_captions_of(given)
    named = clean_text(str(label)) if isinstance(label, str | int) and not isinstance(label, bool) else ""
    return PictureRecord(name, texts, named or label_of(name), rights, rest, read, position, path)


def read_captions_of(value: Any) -> tuple[str, ...]:
    """Return the captions that a field holds: a text, or a list of texts."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return tuple(filter(None, (clean_text(text) for text in texts if isinstance(text, str))))


def finish_records(records: Sequence[PictureRecord]) -> tuple[PictureRecord, ...]:
    """Return records in the order of their names without endings, so that the way of storage does not change it.

    Where no picture of a folder has a caption, the label is the caption of each.
    """
    described = {PurePosixPath(record.name).parent for record in records if record.captions}

    def caption(record: PictureRecord) -> PictureRecord:
        if record.captions or not record.label or PurePosixPath(record.name).parent in described:
            return record
        return replace(record, captions=(record.label,))

    ordered = sorted(records, key=lambda record: (sort_key(record.name), record.name, record.position))
    return tuple(map(caption, ordered))


def sort_key(name: str) -> str:
    """Return the name of a picture without its ending, its letters composed (NFC)."""
    stem = name[: -len(suffix)] if (suffix := PurePosixPath(name).suffix) and suffix.lower() in SUFFIXES else name
    return unicodedata.normalize("NFC", stem)


def label_of(name: str) -> str:
    """Return the label of a picture: the name of its folder, unless that only says which split it belongs to."""
    for folder in PurePosixPath(name).parent.parts[::-1]:
        if folder.casefold() not in SPLITS:
            return clean_text(folder.replace("_", " ").replace("-", " "))
    return ""


def clean_text(text: str) -> str:
    """Return a caption on one line, its letters composed (NFC), with at most LONGEST_CAPTION letters."""
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", sound).split())[:LONGEST_CAPTION]


def list_names(names: Sequence[str], most: int = 5) -> str:
    """Return some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
