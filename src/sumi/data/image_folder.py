"""A folder of picture files: PNG, JPEG or WebP at any depth, also behind links.

`sumi.data.captions` says where captions, labels and rights are found. What is not read is named.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sumi.data.captions import Captions, read_captions
from sumi.data.picture_dataset import (
    SUFFIXES,
    PictureDataset,
    finish_records,
    list_names,
    make_record,
)
from sumi.errors import SumiError
from sumi.imaging.image_file import LARGEST_FILE_BYTES

__all__ = ["FileBytes", "list_files", "read_image_folder"]

OTHER_PICTURES = (
    ".apng", ".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe", ".jxl", ".pgm", ".pnm",
    ".ppm", ".psd", ".svg", ".tga", ".tif", ".tiff",
)  # fmt: skip
RENAMED = {".jfif": "rename it to .jpg", ".jpe": "rename it to .jpg", ".apng": "rename it to .png"}


@dataclass(frozen=True)
class FileBytes:
    """Reads a file."""

    path: Path

    def __call__(self) -> bytes:
        """Return its bytes; SumiError where they are too many for a picture, or where it is no regular file."""
        if not self.path.is_file():
            raise SumiError(f"cannot read the picture {self.path}: there is no such file")
        if self.path.stat().st_size > LARGEST_FILE_BYTES:
            raise SumiError(f"{self.path} is over {LARGEST_FILE_BYTES // 2**20} MB, too large for a picture")
        return self.path.read_bytes()


def read_image_folder(folder: str | Path) -> PictureDataset:
    """Return the pictures of a folder.

    Raises:
        SumiError: when there is none, or when a list of captions is damaged.
    """
    root = Path(folder)
    pictures, files, broken = list_files(root)
    if not pictures:
        more = f" ({len(broken)} left out: {broken[0]})" if broken else ""
        raise SumiError(f"there are no pictures in {root}: it should hold PNG, JPEG or WebP files{more}")
    captions = read_captions(root, pictures, files)
    records = []
    for number, name in enumerate(pictures):
        texts, fields = captions.of(name)
        path = root / name
        records.append(make_record(name, fields, FileBytes(path), ("", number), texts, path))
    notes = _notes(files, captions)
    return PictureDataset(str(folder), "image folder", finish_records(records), tuple(broken), notes)


def list_files(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Paths of pictures and of other files within a folder, and a line for each thing that is left out."""
    try:
        if not root.is_dir():
            raise SumiError(f"there is no folder {str(root)!r}: --data takes a folder of pictures")
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot look into {str(root)!r}: {getattr(error, 'strerror', None) or error}") from None
    pictures: list[str] = []
    files: list[str] = []
    left_out: list[str] = []

    def failed(error: OSError) -> None:
        left_out.append(f"cannot look into {error.filename}: {error.strerror or error}")

    for place, folders, names in os.walk(root, followlinks=True, onerror=failed):
        above = [os.path.realpath(place), *map(str, Path(os.path.realpath(place)).parents)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [name for name in folders if os.path.realpath(os.path.join(place, name)) in above]:
            folders.remove(name)
            left_out.append(f"{os.path.join(place, name)} is a link back to a folder that it lies in")
        here = PurePosixPath(Path(place).relative_to(root).as_posix())
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix, path = PurePosixPath(name).suffix.lower(), (here / name).as_posix()
            if suffix in SUFFIXES:
                pictures.append(path)
            elif suffix in OTHER_PICTURES:
                left_out.append(f"{root / path} is a picture of a kind that is not read: {repair_of(suffix)}")
            else:
                files.append(path)
    return sorted(pictures), sorted(files), left_out


def repair_of(suffix: str) -> str:
    """Return how a picture of another kind is made one that is read."""
    return RENAMED.get(suffix, "save it as PNG, JPEG or WebP")


def _notes(files: list[str], captions: Captions) -> tuple[str, ...]:
    """What a person may want to know about files that made no picture and no caption."""
    notes = [f"{fault}; its picture has no caption" for fault in captions.faults]
    if captions.strays:
        notes.append(f"captions are given for {list_names(captions.strays)}, and there is no such picture")
    for name, fields in captions.silent.items():
        notes.append(f"{name} gives no caption: its fields are {', '.join(fields) or 'none'}")
    ignored = [name for name in files if name not in captions.used]
    if ignored:
        kinds = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in ignored)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        notes.append(f"not looked at: {list_names(ignored)} ({counted})")
    return tuple(notes)
