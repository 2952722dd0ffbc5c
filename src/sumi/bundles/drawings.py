"""The drawings that taught a model, small enough to travel with it: what they look like to people and to its CLIP.

    drawings/
      drawings.json            {"format", "clip", "side_px", "sources": [rights of a source], "drawings": [...]}
      embeddings.safetensors   bf16 (N, D), unit vectors
      sheet.webp               all of them in rows, lossless; colours premultiplied, of few levels

A bundle without the folder is whole; only what compares pictures with drawings needs it. `clip` is the sha256 of the
CLIP whose embeddings they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from sumi.bundles.json_file import read_object, write_json
from sumi.bundles.tensors import TensorFile
from sumi.errors import SumiError
from sumi.imaging.image_file import open_image

__all__ = ["DRAWINGS", "EMBEDDINGS", "RECORD", "SHEET", "SIDE_PX", "TrainingDrawings"]

DRAWINGS = "drawings"
RECORD, EMBEDDINGS, SHEET = "drawings.json", "embeddings.safetensors", "sheet.webp"
FORMAT = 1
SIDE_PX = 44
"""Of a drawing in the sheet; with it a model of two thousand drawings carries under 3 MB."""
OF_SOURCE = ("source", "version", "licence", "author", "url")
OF_DRAWING = ("concept", "person", "icon")


@dataclass(frozen=True)
class TrainingDrawings:
    """Drawings in order. embeddings: unit (N, D). pictures: premultiplied uint8 (N, 4, S, S). rows: what and whose."""

    embeddings: Tensor
    pictures: Tensor
    rows: Sequence[Mapping[str, str]]
    clip: str

    def save(self, folder: Path) -> None:
        """Write the three files into a new folder."""
        folder.mkdir()
        sources = list(dict.fromkeys(tuple(row[name] for name in OF_SOURCE) for row in self.rows))
        record = {
            "format": FORMAT,
            "clip": self.clip,
            "side_px": self.pictures.shape[-1],
            "sources": [dict(zip(OF_SOURCE, source, strict=True)) for source in sources],
            "drawings": [
                [sources.index(tuple(row[name] for name in OF_SOURCE)), *(row[name] for name in OF_DRAWING)]
                for row in self.rows
            ],
        }
        write_json(folder / RECORD, record, indent=None)
        (folder / EMBEDDINGS).write_bytes(save({"embeddings": self.embeddings.to(torch.bfloat16).contiguous()}))
        # `exact` keeps colours where alpha is 0; lossless, so that what is measured on them is measured on drawings.
        _sheet(self.pictures).save(folder / SHEET, "WEBP", lossless=True, quality=80, method=4, exact=True)

    @classmethod
    def load(cls, folder: Path) -> TrainingDrawings:
        """Read them; SumiError when a file is missing or damaged, or they do not belong together."""
        record = read_object(folder / RECORD)
        try:
            side, rows = int(record["side_px"]), _rows(record)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SumiError(f"{folder / RECORD} does not describe drawings: {type(error).__name__}: {error}") from None
        if record.get("format") != FORMAT or not rows or not 1 <= side <= 256:
            raise SumiError(f"{folder / RECORD} has another format than this Sumi reads")
        file = TensorFile(folder / EMBEDDINGS)
        if "embeddings" not in file.entries or file.entries["embeddings"].shape[:-1] != (len(rows),):
            raise SumiError(f"{folder / EMBEDDINGS} should hold an embedding for each of {len(rows)} drawings")
        pictures = _pictures(open_image(folder / SHEET), side)
        if len(pictures) < len(rows):
            raise SumiError(f"{folder / SHEET} holds {len(pictures)} drawings, and {RECORD} names {len(rows)}")
        return cls(file.tensor("embeddings").float(), pictures[: len(rows)], rows, str(record.get("clip", "")))

    def counts(self) -> dict[str, int]:
        """How many there are of each source."""
        sources = [row["source"] for row in self.rows]
        return {source: sources.count(source) for source in dict.fromkeys(sources)}


def _rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    sources = [{name: str(source[name]) for name in OF_SOURCE} for source in record["sources"]]
    return [
        dict(zip(OF_DRAWING, map(str, names), strict=True)) | sources[int(source)]
        for source, *names in record["drawings"]
    ]


def _sheet(pictures: Tensor) -> Image.Image:
    count, _, side, _ = pictures.shape
    columns = math.ceil(math.sqrt(count))
    page = np.zeros((-(-count // columns) * side, columns * side, 4), np.uint8)
    for number, picture in enumerate(pictures):
        y, x = side * (number // columns), side * (number % columns)
        page[y : y + side, x : x + side] = picture.permute(1, 2, 0).numpy()
    return Image.fromarray(page)


def _pictures(sheet: Image.Image, side: int) -> Tensor:
    page = torch.from_numpy(np.array(sheet.convert("RGBA"))).permute(2, 0, 1)
    cells = page.unfold(1, side, side).unfold(2, side, side)  # (4, rows, columns, S, S)
    return cells.permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()
