"""Records of exams: what an exam writes into its folder, and what a comparison or a model card reads from it.

    NAME.json       {"suite", "model", "hashes", "judge", "settings", "seed", "rows": {name: score}, "pictures", "grid"}
    NAME-grid.webp  the first pictures of the exam, lossless, in the order of "grid"

A row has its value under "share", "mean" or another of `VALUES`, with "low", "high", "n", and perhaps "chance" and
"ceiling" of the same form.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError
from sumi.imaging.image_file import open_image
from sumi.imaging.pixels import to_image

__all__ = ["ExamRecord", "row_value", "save_exam"]

VALUES = ("share", "mean", "difference", "value", "kid")
GRID_COLUMNS = 12


@dataclass(frozen=True)
class ExamRecord:
    """A saved exam.

    Args:
        path: the JSON file.
        values: what it holds.
    """

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> ExamRecord:
        """Read a record; SumiError when the file holds none."""
        try:
            values = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SumiError(f"{path} is no record of an exam: {error}") from None
        rows = values.get("rows") if isinstance(values, dict) else None
        if not isinstance(rows, dict) or not rows or not all(map(_is_row, rows.values())):
            raise SumiError(f"{path} is no record of an exam: it has no rows; give a file that `sumi exam` wrote")
        return cls(Path(path), values)

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.values.get("model", "unnamed"))

    @property
    def suite(self) -> str:
        """The name of the exam."""
        return str(self.values.get("suite", self.path.stem))

    @property
    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """The rows by name."""
        rows: Mapping[str, Mapping[str, Any]] = self.values["rows"]
        return rows

    @property
    def prompts_and_seeds(self) -> list[tuple[str, int]]:
        """The prompt and the seed of each picture; records of the same are paired."""
        return [(str(row["prompt"]), int(row["seed"])) for row in self.values.get("pictures", ())]

    @cached_property
    def grid(self) -> dict[tuple[str, int], Image.Image]:
        """The pictures that it kept, by prompt and seed."""
        grid = self.values.get("grid")
        if not isinstance(grid, dict) or not (self.path.parent / str(grid["file"])).is_file():
            return {}
        sheet, side = open_image(self.path.parent / str(grid["file"])).convert("RGBA"), int(grid["side_px"])
        found = {}
        for place, number in enumerate(grid["pictures"]):
            x, y = place % GRID_COLUMNS * side, place // GRID_COLUMNS * side
            found[self.prompts_and_seeds[number]] = sheet.crop((x, y, x + side, y + side))
        return found


def row_value(row: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the kind of a row's value, one of `VALUES`, and the value; None where nothing was tried."""
    kind = next(name for name in VALUES if name in row)
    return kind, row[kind]


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and any(name in row for name in VALUES)


def save_exam(
    folder: Path, suite: str, record: Mapping[str, Any], pictures: Tensor | None = None, chosen: Sequence[int] = ()
) -> list[Path]:
    """Write a record, and some of its pictures on a grid; return the paths.

    Args:
        folder: where to.
        suite: the name of the exam, and of the files.
        record: what the JSON file holds.
        pictures: premultiplied uint8 (N, 4, S, S), in the order of the record's "pictures".
        chosen: the numbers of those to keep.
    """
    values, paths = {"suite": suite, **record}, [folder / f"{suite}.json"]
    if pictures is not None and chosen:
        paths.append(folder / f"{suite}-grid.webp")
        values["grid"] = {"file": paths[1].name, "side_px": pictures.shape[-1], "pictures": list(chosen)}
        write_atomic(paths[1], _sheet(pictures[list(chosen)]))
    write_atomic(paths[0], json.dumps(values, indent=1) + "\n")
    return paths


def _sheet(pictures: Tensor) -> bytes:
    """Return pictures in rows as a lossless WebP file."""
    side = pictures.shape[-1]
    width = min(len(pictures), GRID_COLUMNS) * side
    page = Image.new("RGBA", (width, -(-len(pictures) // GRID_COLUMNS) * side))
    for place, levels in enumerate(pictures):
        page.paste(to_image(levels), (place % GRID_COLUMNS * side, place // GRID_COLUMNS * side))
    file = io.BytesIO()
    page.save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()
