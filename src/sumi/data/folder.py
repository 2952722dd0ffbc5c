"""A folder of somebody's own pictures, read into one array: uint8 (N, 4, S, S), premultiplied, whole in a square.

Any PNG, JPEG or WebP at any depth, also behind links. Captions are found as `sumi.data.captions` says; the label of a
picture is the name of its sub-folder. What cannot be read or is not looked at is named, never passed over in silence.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.data.captions import METADATA, TABLES, Captions, label_of, listed, read_captions
from sumi.errors import SumiError
from sumi.hardware import free_memory
from sumi.imaging.image_file import open_image, rgba

__all__ = ["PictureFolder", "read_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
OTHER_PICTURES = (
    ".apng", ".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe", ".jxl", ".pgm", ".pnm",
    ".ppm", ".psd", ".svg", ".tga", ".tif", ".tiff",
)  # fmt: skip
RENAMED = {".jfif": "rename it to .jpg", ".jpe": "rename it to .jpg", ".apng": "rename it to .png"}

Progress = Callable[[int, int], None]
"""Called with (pictures read, pictures in all)."""


@dataclass(frozen=True)
class PictureFolder:
    """Pictures of a folder in the order of their names.

    names: paths within the folder. captions: "" where nothing describes a picture. labels: sub-folders' names, "" for a
    picture that lies in none. digests: of the pixels of each picture's file, whatever the size here. skipped: a line
    for each picture that was left out, saying why. notes: what else was not looked at.
    """

    folder: Path
    pictures: NDArray[np.uint8]
    names: tuple[str, ...]
    captions: tuple[str, ...]
    labels: tuple[str, ...]
    digests: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> tuple[str, ...]:
        """The different labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def content(self) -> str:
        """sha256 of all pictures in their order."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()

    def having(self, what: str, whose: str) -> PictureFolder:
        """Return the album without the pictures that lack "captions" or "labels", each named in `skipped`.

        whose: the system that needs them. Raises SumiError when no picture has any.
        """
        given = {"captions": self.captions, "labels": self.labels}[what]
        how = {
            "captions": f"write NAME.txt beside a picture, or a {METADATA} or {TABLES[0]} with file_name and text",
            "labels": "put the pictures of each label into a sub-folder of that name",
        }[what]
        kept = [number for number, text in enumerate(given) if text]
        if not kept:
            raise SumiError(
                f"{whose} learns from {what}, and none of the {len(self)} pictures in {self.folder} has any: {how}"
            )
        if len(kept) == len(self):
            return self

        def some(column: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(column[number] for number in kept)

        lacking = [name for name, text in zip(self.names, given, strict=True) if not text]
        return replace(
            self,
            pictures=self.pictures[kept],
            names=some(self.names),
            captions=some(self.captions),
            labels=some(self.labels),
            digests=some(self.digests),
            skipped=(*self.skipped, *(f"{self.folder / name} has no {what[:-1]}: {how}" for name in lacking)),
        )


def read_folder(folder: str | Path, size_px: int, progress: Progress = lambda done, of: None) -> PictureFolder:
    """Read every picture of a folder at a size.

    Raises SumiError when there is none, when a list of captions is damaged, or when they do not fit into memory.
    """
    root = Path(folder)
    names, files, skipped = _look_into(root)
    captions = read_captions(root, names, files)
    _check_memory(len(names), size_px)
    pictures = np.zeros((len(names), 4, size_px, size_px), dtype=np.uint8)
    named, kept = len(skipped), list[str]()
    digests: list[str] = []
    for number, name in enumerate(names, 1):
        try:
            image = rgba(open_image(root / name))
            pictures[len(kept)] = squared(image, size_px)
            kept.append(name)
            digests.append(hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).hexdigest())
        except SumiError as error:
            skipped.append(str(error))
        progress(number, len(names))
    if not kept:
        raise SumiError(f"none of the {len(names)} pictures in {root} can be read: {skipped[named]}")
    texts, labels = tuple(map(captions.of, kept)), tuple(map(label_of, kept))
    notes = _notes(files, captions)
    return PictureFolder(root, pictures[: len(kept)], tuple(kept), texts, labels, tuple(digests), tuple(skipped), notes)


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


def _look_into(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Paths of pictures and of other files within a folder, and a line for each thing that is left out."""
    try:
        if not root.is_dir():
            raise SumiError(f"there is no folder {str(root)!r}: --data takes a folder of pictures")
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot look into {str(root)!r}: {getattr(error, 'strerror', None) or error}") from None
    pictures: list[str] = []
    files: list[str] = []
    skipped: list[str] = []

    def failed(error: OSError) -> None:
        skipped.append(f"cannot look into {error.filename}: {error.strerror or error}")

    for place, folders, names in os.walk(root, followlinks=True, onerror=failed):
        above = [os.path.realpath(place), *map(str, Path(os.path.realpath(place)).parents)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [name for name in folders if os.path.realpath(os.path.join(place, name)) in above]:
            folders.remove(name)
            skipped.append(f"{os.path.join(place, name)} is a link back to a folder that it lies in")
        here = PurePosixPath(Path(place).relative_to(root).as_posix())
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix, path = PurePosixPath(name).suffix.lower(), (here / name).as_posix()
            if suffix in SUFFIXES:
                pictures.append(path)
            elif suffix in OTHER_PICTURES:
                mend = RENAMED.get(suffix, "save it as PNG, JPEG or WebP")
                skipped.append(f"{root / path} is a picture of a kind that is not read: {mend}")
            else:
                files.append(path)
    if not pictures:
        more = f" ({len(skipped)} left out: {skipped[0]})" if skipped else ""
        raise SumiError(f"there are no pictures in {root}: it should hold PNG, JPEG or WebP files{more}")
    return sorted(pictures), sorted(files), skipped


def _notes(files: list[str], captions: Captions) -> tuple[str, ...]:
    """What a person may want to know about files that made no picture and no caption."""
    notes = [f"{fault}; its picture has no caption" for fault in captions.faults]
    if captions.strays:
        notes.append(f"captions are given for {listed(captions.strays)}, and there is no such picture")
    ignored = [name for name in files if name not in captions.used]
    if ignored:
        kinds = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in ignored)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        notes.append(f"not looked at: {listed(ignored)} ({counted})")
    return tuple(notes)


def _check_memory(count: int, size_px: int) -> None:
    needed, free = count * 4 * size_px**2, free_memory()
    if free is not None and needed > free:
        raise SumiError(
            f"{count:,} pictures of {size_px} px take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free: choose a smaller --size, or fewer pictures"
        )
