"""What people write about pictures: lists, text files beside pictures, names of folders.

    metadata.jsonl|csv|parquet, captions.csv      in any folder; the names in a list are relative to the list
    fox.txt, fox.caption, fox.json                beside fox.png; fox.png.txt too
    red fox/                                      a folder none of whose pictures has a caption of its own

A list in a deeper folder comes before one above it, metadata.jsonl before parquet before CSV, and any list before a
file beside the picture. Rows and JSON files may also hold labels and rights (see `sumi.data.picture_dataset`).
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sumi.data.picture_dataset import CAPTION_FIELDS, NAME_FIELDS, clean_text, list_names
from sumi.errors import SumiError

__all__ = ["LISTS", "SIDECARS", "Captions", "parse_json", "read_captions", "read_text"]

LISTS = ("captions.csv", "metadata.csv", "metadata.parquet", "metadata.jsonl")  # the last that names a picture wins
SIDECARS = (".txt", ".caption", ".json")

Row = tuple[int, Mapping[str, Any]]
"""The number of a line, or of a row, and its fields."""


@dataclass
class Captions:
    """What was written about pictures, by their paths within the folder.

    texts: the captions of text files. fields: of lists and JSON files, later ones over earlier ones. faults: why a file
    of captions could not be used, a line each. strays: names in lists for which there is no picture. used: the files
    that were read. silent: lists without a caption, and the fields that they have.
    """

    texts: dict[str, str] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    silent: dict[str, list[str]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Return the caption that a text file gives a picture, where no list gives one, and the fields of its rows."""
        fields = self.fields.get(name, {})
        text = self.texts.get(name)
        return ([text] if text and not caption_of(fields) else []), fields


def caption_of(fields: Mapping[str, Any]) -> Any:
    """Return the caption in the fields of a row; a false value where there is none."""
    return next((value for key, value in fields.items() if key.casefold() in CAPTION_FIELDS and value), None)


def read_captions(root: Path, pictures: Sequence[str], files: Sequence[str]) -> Captions:
    """Read everything that is written about the pictures of a folder; SumiError naming the line of a damaged list.

    pictures, files: paths of the pictures, and of all other files, within root.
    """
    found = Captions()
    _read_sidecars(root, pictures, files, found)
    lists = [name for name in files if PurePosixPath(name).name.lower() in LISTS]
    order = {name: (len(PurePosixPath(name).parts), LISTS.index(PurePosixPath(name).name.lower())) for name in lists}
    places, total = _Places(pictures), 0
    for name in sorted(lists, key=lambda name: order[name]):
        found.used.add(name)
        total += _read_list(root, name, places, found)
    if found.strays and len(found.strays) == total:
        raise SumiError(f"{root}: captions are given for {list_names(found.strays)}, and there is no such picture")
    return found


def _read_list(root: Path, name: str, places: _Places, found: Captions) -> int:
    """Take the rows of one list; returns how many there are."""
    seen: dict[str, int] = {}
    fields, described, count = dict[str, None](), False, 0
    for number, row in _rows(root / name):
        count += 1
        told, rest = _split_name(root / name, number, row)
        fields |= dict.fromkeys(rest)
        described = described or bool(caption_of(rest))
        picture = places.find(PurePosixPath(name).parent, told)
        if picture is None:
            found.strays.append(told)
            continue
        if picture in seen:
            raise SumiError(f"{root / name}, line {number}: {told} has a row already, in line {seen[picture]}")
        seen[picture] = number
        taken = found.fields.setdefault(picture, {})
        if caption_of(rest):
            taken = {key: value for key, value in taken.items() if key.casefold() not in CAPTION_FIELDS}
        found.fields[picture] = {**taken, **{key: value for key, value in rest.items() if value not in (None, "")}}
    if count and not described:
        found.silent[name] = list(fields)
    return count


class _Places:
    """Finds the picture that a list means: letters composed or not, upper or lower case, slashes of any system."""

    def __init__(self, pictures: Sequence[str]) -> None:
        self.exact = {_composed(name): name for name in pictures}
        self.loose: dict[str, str | None] = {}
        for name in pictures:
            for key in {_composed(name).casefold(), _composed(str(PurePosixPath(name).with_suffix(""))).casefold()}:
                self.loose[key] = None if key in self.loose else name  # of two, neither is meant

    def find(self, folder: PurePosixPath, told: str) -> str | None:
        """Return the picture, named relative to the list's folder, or else to the whole one."""
        for name in (told, told.replace("\\", "/")):
            for place in (folder / name, PurePosixPath(name)):
                key = _composed(_plain(place))
                found = self.exact.get(key) or self.loose.get(key.casefold())
                if found is not None:
                    return found
        return None


def _plain(path: PurePosixPath) -> str:
    """A path without the steps back in it."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _read_sidecars(root: Path, pictures: Sequence[str], files: Sequence[str], found: Captions) -> None:
    """Take the text file and the JSON file beside each picture."""
    beside: dict[tuple[str, str, str], str] = {}
    for name in files:
        path = PurePosixPath(name)
        if path.suffix.lower() in SIDECARS:
            beside[str(path.parent), _composed(path.stem), path.suffix.lower()] = name
    for picture in pictures:
        path = PurePosixPath(picture)
        for stem in (path.stem, path.name):
            for suffix in SIDECARS:
                sidecar = beside.get((str(path.parent), _composed(stem), suffix))
                if sidecar is not None and not (suffix != ".json" and picture in found.texts):
                    found.used.add(sidecar)
                    _read_sidecar(root / sidecar, picture, found)


def _read_sidecar(path: Path, picture: str, found: Captions) -> None:
    try:
        text = read_text(path)
        if path.suffix.lower() == ".json":
            found.fields[picture] = {**found.fields.get(picture, {}), **parse_json(text, str(path))}
        elif clean_text(text):
            found.texts[picture] = clean_text(text)
    except SumiError as error:
        found.faults.append(str(error))


def parse_json(text: str, named: str) -> dict[str, Any]:
    """Return the fields of a JSON object; SumiError where a text is none."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise SumiError(f"{named}: this is not JSON") from None
    if not isinstance(fields, dict):
        raise SumiError(f"{named}: it should be a JSON object of fields, not a {type(fields).__name__}")
    return fields


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a list."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return _jsonl(path)
    if suffix == ".parquet":
        from sumi.data.tables import read_rows

        return enumerate(read_rows(path), 1)
    return _table(path)


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, parse_json(line, f"{path}, line {number}")


def _table(path: Path) -> Iterator[Row]:
    text = read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not {name.casefold() for name in columns} & set(NAME_FIELDS):
            raise SumiError(
                f"{path} should begin with a line that names its columns, such as file_name,text; it begins with "
                f"{header.strip()[:80]!r}"
            )
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(columns):
                if columns[-1].casefold() not in CAPTION_FIELDS:
                    raise SumiError(
                        f"{path}, line {reader.line_num}: it has {len(row)} columns, and {len(columns)} are named; put "
                        'a caption with commas into "quotes"'
                    )
                row[len(columns) - 1 :] = [delimiter.join(row[len(columns) - 1 :])]  # a caption with bare commas
            yield reader.line_num, dict(zip(columns, row, strict=False))
    except csv.Error as error:
        raise SumiError(f"{path}, line {reader.line_num}: {error}") from None


def _split_name(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the picture that a row describes, and the other fields; SumiError where it names none."""
    by_name = {key.casefold(): key for key in row}
    key = next((by_name[name] for name in NAME_FIELDS if name in by_name), None)
    name = None if key is None else row[key]
    if not isinstance(name, str) or not name.strip():
        raise SumiError(
            f"{path}, line {number}: it should name its picture in {NAME_FIELDS[0]} (or {', '.join(NAME_FIELDS[1:])}) "
            f"and describe it in {CAPTION_FIELDS[0]} (or {', '.join(CAPTION_FIELDS[1:])}); "
            f"it has {', '.join(row) or 'no fields'}"
        )
    rest = {other: value for other, value in row.items() if other != key}
    for other, value in rest.items():
        texts = value if isinstance(value, list | tuple) else [value]
        if other.casefold() in CAPTION_FIELDS and not all(isinstance(text, str | None) for text in texts):
            raise SumiError(
                f"{path}, line {number}: {other} should be a text or a list of texts, not {str(value)[:40]}"
            )
    return name.strip(), rest


def read_text(path: Path) -> str:
    """Return what a text file says, in UTF-8 or UTF-16 with a mark; SumiError where it is neither."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SumiError(f"cannot read {path}: {error.strerror or error}") from None
    return decode_text(content, str(path))


def decode_text(content: bytes, named: str) -> str:
    """Return bytes as text, in UTF-8 or UTF-16 with a mark; SumiError where they are neither."""
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise SumiError(f"{named} should be a text in UTF-8") from None
