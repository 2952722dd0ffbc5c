"""Captions as people keep them: lists beside pictures, text files beside pictures, names of folders.

    metadata.jsonl, captions.csv, metadata.csv    in any folder; the names in a list are relative to the list
    fox.txt, fox.caption                          beside fox.png; fox.png.txt too
    red fox/                                      a folder none of whose pictures has a caption of its own

A list in a deeper folder comes before one above it, metadata.jsonl before a CSV file, and any list before a text file.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from sumi.errors import SumiError

__all__ = ["METADATA", "TABLES", "Captions", "label_of", "listed", "read_captions"]

METADATA, TABLES = "metadata.jsonl", ("captions.csv", "metadata.csv")
LISTS = (*TABLES, METADATA)  # the last that names a picture wins
SIDECARS = (".txt", ".caption")
NAMES = ("file_name", "filename", "file", "image", "path")
TEXTS = ("text", "caption", "prompt", "description")
SPLITS = frozenset({"train", "training", "validation", "valid", "val", "test", "testing"})
"""Names of folders that say nothing about what a picture shows."""
LONGEST_CAPTION = 2000


@dataclass
class Captions:
    """What was written about pictures, by their paths within the folder.

    written: captions from lists and text files. faults: why a file of captions could not be used, a line each.
    strays: names in lists for which there is no picture. used: the files that were read.
    """

    written: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def of(self, name: str) -> str:
        """Return the caption of a picture: what was written, else its folder's name, "" where that says nothing."""
        if name in self.written:
            return self.written[name]
        return "" if PurePosixPath(name).parent in self._described else label_of(name)

    @cached_property
    def _described(self) -> set[PurePosixPath]:
        """Folders in which some picture has a caption of its own."""
        return {PurePosixPath(name).parent for name in self.written}


def read_captions(root: Path, pictures: Sequence[str], files: Sequence[str]) -> Captions:
    """Read all captions of a folder; SumiError naming the line of a damaged list.

    pictures, files: paths of the pictures, and of all other files, within root.
    """
    found = Captions()
    places = _Places(pictures)
    _read_sidecars(root, pictures, files, found)
    lists = [name for name in files if PurePosixPath(name).name.lower() in LISTS]
    order = {name: (len(PurePosixPath(name).parts), LISTS.index(PurePosixPath(name).name.lower())) for name in lists}
    total = 0
    for name in sorted(lists, key=lambda name: order[name]):
        found.used.add(name)
        rows = _jsonl(root / name) if name.lower().endswith(".jsonl") else _table(root / name)
        seen: dict[str, int] = {}
        for number, told, text in rows:
            total += 1
            picture = places.find(PurePosixPath(name).parent, told)
            if picture is None:
                found.strays.append(told)
                continue
            if picture in seen:
                raise SumiError(f"{root / name}, line {number}: {told} has a caption already, in line {seen[picture]}")
            seen[picture] = number
            if text:
                found.written[picture] = text
    if found.strays and len(found.strays) == total:
        raise SumiError(f"{root}: captions are given for {listed(found.strays)}, and there is no such picture")
    return found


def label_of(name: str) -> str:
    """Return the label of a picture: the name of its folder, unless that only says which split it belongs to."""
    for folder in PurePosixPath(name).parent.parts[::-1]:
        if folder.casefold() not in SPLITS:
            return clean(folder.replace("_", " ").replace("-", " "))
    return ""


def clean(text: str) -> str:
    """Return a caption on one line, its letters composed (NFC), no longer than anybody reads."""
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", sound).split())[:LONGEST_CAPTION]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
    """Take the text file beside each picture."""
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
                if sidecar is None or picture in found.written:
                    continue
                found.used.add(sidecar)
                try:
                    text = clean(read_text(root / sidecar))
                except SumiError as error:
                    found.faults.append(str(error))
                    continue
                if text:
                    found.written[picture] = text


def _jsonl(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise SumiError(f"{path}, line {number}: this is not JSON") from None
        yield _checked(path, number, row if isinstance(row, dict) else {})


def _table(path: Path) -> Iterator[tuple[int, str, str]]:
    text = read_text(path)
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if not (set(columns) & set(NAMES) and set(columns) & set(TEXTS)):
            raise SumiError(f"{path} should begin with a line that names its columns: file_name,text")
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(columns):
                if columns[-1] not in TEXTS:
                    raise SumiError(
                        f"{path}, line {reader.line_num}: it has {len(row)} columns, and {len(columns)} are named; put "
                        'a caption with commas into "quotes"'
                    )
                row[len(columns) - 1 :] = [delimiter.join(row[len(columns) - 1 :])]  # a caption with bare commas
            yield _checked(path, reader.line_num, dict(zip(columns, row, strict=False)))
    except csv.Error as error:
        raise SumiError(f"{path}, line {reader.line_num}: {error}") from None


def _checked(path: Path, number: int, row: Mapping[str, object]) -> tuple[int, str, str]:
    """The line, the file name and the caption of a row; SumiError where it lacks one."""
    name = next((row[key] for key in NAMES if key in row), None)
    text = next((row[key] for key in TEXTS if key in row), None)
    if not isinstance(name, str) or not isinstance(text, str) or not name.strip():
        raise SumiError(f"{path}, line {number}: it should give a file_name and a text")
    return number, name.strip(), clean(text)


def read_text(path: Path) -> str:
    """Return what a text file says, in UTF-8 or UTF-16 with a mark; SumiError where it is neither."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SumiError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise SumiError(f"{path} should be a text in UTF-8") from None
