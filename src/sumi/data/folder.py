"""A folder of somebody's own pictures, read into one array: uint8 (N, 4, S, S), premultiplied, whole in a square.

Any PNG, JPEG or WebP at any depth. What a picture shows is said, in this order, by

    metadata.jsonl      {"file_name": "a/fox.png", "text": "a red fox"} a line
    captions.csv        file_name,text
    fox.txt             beside fox.png
    the sub-folder      its name is the label too

A picture that cannot be read is left out and named; one that nobody described has the caption "".
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.errors import SumiError
from sumi.image_file import open_image, rgba

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
METADATA, CAPTIONS = "metadata.jsonl", "captions.csv"
LONGEST_CAPTION = 2000
MOST_NAMED = 5

Progress = Callable[[int, int], None]
"""Called with (pictures read, pictures in all)."""


@dataclass(frozen=True)
class Album:
    """Pictures of a folder in the order of their names.

    names: paths within the folder. captions: "" where nobody said anything. labels: sub-folders' names, "" for a
    picture that lies in none. skipped: a line for each picture that could not be read, saying why.
    """

    folder: Path
    pictures: NDArray[np.uint8]
    names: tuple[str, ...]
    captions: tuple[str, ...]
    labels: tuple[str, ...]
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> tuple[str, ...]:
        """The different labels, sorted."""
        return tuple(sorted(set(self.labels)))

    def need(self, what: str, whose: str) -> None:
        """Raise SumiError, naming pictures, unless each has a caption ("captions") or a label ("labels")."""
        given = {"captions": self.captions, "labels": self.labels}[what]
        lacking = [name for name, text in zip(self.names, given, strict=True) if not text]
        if lacking:
            how = {
                "captions": f"write NAME.txt beside a picture, or a {METADATA} or {CAPTIONS} with file_name and text",
                "labels": "put the pictures of each label into a sub-folder of that name",
            }[what]
            none = f"{len(lacking)} of the {len(self)} pictures in {self.folder} have none: {listed(lacking)}"
            raise SumiError(f"{whose} learns from {what}, and {none}; {how}")


def read_folder(folder: str | Path, size_px: int, progress: Progress = lambda done, of: None) -> Album:
    """Read every picture of a folder at a size; SumiError when there is none, or a list of captions is damaged."""
    root = Path(folder)
    names = _pictures_in(root)
    written = {**_table(root), **_metadata(root)}
    if strange := sorted(written.keys() - set(names)):
        raise SumiError(f"{root}: captions are given for {listed(strange)}, and there is no such picture")
    pictures = np.zeros((len(names), 4, size_px, size_px), dtype=np.uint8)
    kept: list[str] = []
    skipped: list[str] = []
    for number, name in enumerate(names, 1):
        try:
            pictures[len(kept)] = squared(rgba(open_image(root / name)), size_px)
            kept.append(name)
        except SumiError as error:
            skipped.append(str(error))
        progress(number, len(names))
    if not kept:
        raise SumiError(f"none of the {len(names)} pictures in {root} can be read: {skipped[0]}")
    captions = tuple(written.get(name) or _beside(root, name) or _label(name) for name in kept)
    return Album(root, pictures[: len(kept)], tuple(kept), captions, tuple(map(_label, kept)), tuple(skipped))


def squared(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    """Return an RGBA image, premultiplied and whole in the middle of a transparent square: (4, size_px, size_px)."""
    scale = size_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.convert("RGBa").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(small).transpose(2, 0, 1)
    square = np.zeros((4, size_px, size_px), dtype=np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square[:, top : top + height, left : left + width] = np.minimum(pixels, pixels[3:])  # bicubic may overshoot
    return square


def listed(names: Sequence[str]) -> str:
    """Return some names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _pictures_in(root: Path) -> list[str]:
    try:
        if not root.is_dir():
            raise SumiError(f"there is no folder {str(root)!r}: --data takes a folder of pictures")
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot look into {str(root)!r}: {getattr(error, 'strerror', None) or error}") from None
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place).relative_to(root)
        found += [
            (here / name).as_posix()
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]  # fmt: skip
    if not found:
        raise SumiError(f"there are no pictures in {root}: it should hold PNG, JPEG or WebP files")
    return sorted(found)


def _metadata(root: Path) -> dict[str, str]:
    rows = []
    for number, line in enumerate(_text(root / METADATA).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise SumiError(f"{root / METADATA}, line {number}: this is not JSON") from None
        rows.append((number, row if isinstance(row, dict) else {}))
    return dict(_checked(root / METADATA, rows))


def _table(root: Path) -> dict[str, str]:
    text = _text(root / CAPTIONS)
    if not text:
        return {}
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"file_name", "text"} <= set(reader.fieldnames or ()):
        raise SumiError(f"{root / CAPTIONS} should begin with a line that names its columns: file_name,text")
    try:
        return dict(_checked(root / CAPTIONS, [(reader.line_num, row) for row in reader]))
    except csv.Error as error:
        raise SumiError(f"{root / CAPTIONS}, line {reader.line_num}: {error}") from None


def _checked(path: Path, rows: Sequence[tuple[int, dict[str, object]]]) -> Iterator[tuple[str, str]]:
    """File names and captions of a list, cleaned; SumiError naming the line that lacks one."""
    seen = set()
    for number, row in rows:
        name, text = row.get("file_name"), row.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            raise SumiError(f"{path}, line {number}: it should give a file_name and a text")
        name = Path(name).as_posix()
        if name in seen:
            raise SumiError(f"{path}, line {number}: {name} has a caption already")
        seen.add(name)
        yield name, _clean(text)


def _beside(root: Path, name: str) -> str:
    return _clean(_text((root / name).with_suffix(".txt")))


def _label(name: str) -> str:
    parent = Path(name).parent.name
    return " ".join(parent.replace("_", " ").replace("-", " ").split())


def _clean(text: str) -> str:
    """One line, no longer than anybody reads."""
    return " ".join(text.split())[:LONGEST_CAPTION]


def _text(path: Path) -> str:
    """What a file says; nothing where there is none."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise SumiError(f"{path} should be a text in UTF-8") from None
    except OSError as error:
        raise SumiError(f"cannot read {path}: {error.strerror or error}") from None
