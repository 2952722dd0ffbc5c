"""The pictures of a data set as one array: uint8 (N, 4, S, S), premultiplied, each whole in the middle of a square.

Samples that cannot be decoded are left out and named; too many of them are refused. The array may be a file, so that a
data set need not fit into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.data.disk import check_disk
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_dataset import PictureDataset, PictureRecord
from sumi.errors import SumiError
from sumi.hardware import free_memory

__all__ = ["FEW_BROKEN", "MAX_BROKEN", "PictureArray", "fit_square", "read_pictures"]

MAX_BROKEN = 0.05
"""The share of samples that may be broken."""
FEW_BROKEN = 10
"""So many broken samples are always accepted; a small folder may hold a few strange files."""
LACKING = {
    "captions": "write NAME.txt beside a picture, or a metadata.jsonl or captions.csv with file_name and text",
    "labels": "put the pictures of each label into a sub-folder of that name",
}

Progress = Callable[[int, int], None]
"""Called with (pictures read, pictures in all)."""


@dataclass(frozen=True)
class PictureArray:
    """Pictures in the order of their data set, with what is known of each.

    Attributes:
        place: what was opened.
        pictures: uint8 (N, 4, S, S).
        records: of the pictures, N of them.
        digests: of the pixels of each picture's file, whatever the size here.
        broken: a line for each sample that cannot be used, saying why.
        left_out: a line for each picture that lacks what the training needs.
        notes: what else was not looked at.
    """

    place: str
    pictures: NDArray[np.uint8]
    records: tuple[PictureRecord, ...]
    digests: tuple[str, ...]
    broken: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @property
    def names(self) -> tuple[str, ...]:
        """The paths within the data set."""
        return tuple(record.name for record in self.records)

    @property
    def captions(self) -> tuple[str, ...]:
        """The first caption of each picture, "" where nothing describes it."""
        return tuple(record.caption for record in self.records)

    @property
    def skipped(self) -> tuple[str, ...]:
        """A line for each sample that is not among the pictures."""
        return (*self.broken, *self.left_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each picture, "" where it has none."""
        return tuple(record.label for record in self.records)

    @property
    def classes(self) -> tuple[str, ...]:
        """The different labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def content(self) -> str:
        """sha256 of all pictures in their order."""
        return hashlib.sha256(" ".join(self.digests).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what was read and what was left out, every sample by its name, as JSON values."""
        return {
            "place": self.place,
            "pictures": len(self),
            "content": self.content,
            "broken": list(self.broken),
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }

    def having(self, what: str, whose: str) -> PictureArray:
        """Return the array without the pictures that lack "captions" or "labels", each named in `left_out`.

        whose: the system that needs them. Raises SumiError when no picture has any.
        """
        given = {"captions": self.captions, "labels": self.labels}[what]
        kept = [number for number, text in enumerate(given) if text]
        if not kept:
            raise SumiError(
                f"{whose} learns from {what}, and none of the {len(self):,} pictures in {self.place} has any: "
                f"{LACKING[what]}"
            )
        if len(kept) == len(self):
            return self
        lacking = [record for record, text in zip(self.records, given, strict=True) if not text]
        return replace(
            self,
            pictures=self.pictures[kept],
            records=tuple(self.records[number] for number in kept),
            digests=tuple(self.digests[number] for number in kept),
            left_out=(
                *self.left_out,
                *(f"{record.location} has no {what[:-1]}: {LACKING[what]}" for record in lacking),
            ),
        )


def read_pictures(
    source: str | Path | PictureDataset,
    size_px: int,
    progress: Progress = lambda done, of: None,
    *,
    max_broken: float = MAX_BROKEN,
    file: Path | None = None,
) -> PictureArray:
    """Decode every picture of a data set at a size.

    Args:
        source: the data set, or a place that `open_dataset` opens.
        size_px: the side of the pictures.
        progress: called after each picture.
        max_broken: the share of samples that may be broken, in [0, 1]; a few are always accepted.
        file: where the array is kept; by default in memory.

    Raises:
        SumiError: when there is no picture, when too many are broken, when what describes them is damaged, or when they
            do not fit into memory or on the disk.
    """
    dataset = source if isinstance(source, PictureDataset) else open_dataset(source)
    count = len(dataset)
    allowed = max(FEW_BROKEN, int(max_broken * count)) if max_broken else 0
    pictures = _allocate(count, size_px, file)
    digests: list[str] = [""] * count
    broken = list(dataset.broken)
    for done, number in enumerate(sorted(range(count), key=lambda number: dataset[number].position), 1):
        try:
            image = dataset[number].open()
            pictures[number] = fit_square(image, size_px)
            digests[number] = hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).hexdigest()
        except SumiError as error:
            broken.append(str(error))
        if len(broken) > allowed and any(digests):
            raise SumiError(
                f"{len(broken):,} samples in {dataset.place} are broken after {done:,} of {count:,}, and {allowed:,} "
                f"are accepted (--max-broken): the last is {broken[-1]}"
            )
        progress(done, count)
    kept = [number for number, digest in enumerate(digests) if digest]
    if not kept:
        raise SumiError(f"none of the {count:,} pictures in {dataset.place} can be read: {broken[len(dataset.broken)]}")
    for place, number in enumerate(kept):
        if place != number:
            pictures[place] = pictures[number]
    return PictureArray(
        dataset.place,
        pictures[: len(kept)],
        tuple(dataset[number] for number in kept),
        tuple(digests[number] for number in kept),
        tuple(broken),
        notes=dataset.notes,
    )


def fit_square(image: Image.Image, size_px: int) -> NDArray[np.uint8]:
    """Return an RGBA image, premultiplied and whole in the middle of a transparent square: (4, size_px, size_px)."""
    scale = size_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.convert("RGBa").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(small).transpose(2, 0, 1)
    square = np.zeros((4, size_px, size_px), dtype=np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square[:, top : top + height, left : left + width] = np.minimum(pixels, pixels[3:])  # bicubic may overshoot
    return square


def _allocate(count: int, size_px: int, file: Path | None) -> NDArray[np.uint8]:
    """Return an array for so many pictures, in memory or mapped from a file."""
    shape, needed = (count, 4, size_px, size_px), count * 4 * size_px**2
    if file is not None:
        check_disk(file.parent, needed, "the pictures")
        file.parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    free = free_memory()
    if free is not None and needed > free:
        raise SumiError(
            f"{count:,} pictures of {size_px} px take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free: choose a smaller --size, or fewer pictures"
        )
    return np.zeros(shape, dtype=np.uint8)
