"""Some pictures of a data set, written as a list or as a folder of copies. The data set itself is never changed.

kept.jsonl        a row for each picture: file_name, text, label, rights, and what a command adds, such as a weight
kept/             the files of the pictures, and the same rows in metadata.jsonl, which `open_dataset` reads
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sumi.atomic_file import write_atomic
from sumi.data.disk import check_disk
from sumi.data.picture_dataset import RIGHTS_FIELDS, PictureRecord
from sumi.errors import SumiError

__all__ = ["check_destination", "row_of", "write_selection"]

LIST = "metadata.jsonl"
JSON_VALUES = (str, int, float, bool, list, dict)
SAMPLE = 64
"""Pictures by whose size the space on the disk is estimated."""


def check_destination(out: Path) -> None:
    """Raise SumiError unless `out` is a list or a folder that can be written without replacing anything."""
    if out.suffix.lower() == ".jsonl":
        if out.exists():
            raise SumiError(f"{out} is there already, and nothing of yours is replaced: choose another --out")
    elif out.suffix and not out.is_dir():
        raise SumiError(f"{out} should be a folder, or a list that ends in .jsonl")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SumiError(f"{out} is not empty, and nothing of yours is replaced: choose another --out")


def write_selection(
    records: Sequence[PictureRecord],
    out: Path,
    added: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Path:
    """Write pictures as a list (NAME.jsonl) or as a folder of copies, and return where.

    Args:
        records: the pictures.
        out: see `check_destination`.
        added: further fields of each row.
        progress: called after each copy.

    Raises:
        SumiError: when `out` is taken, the disk is too small, or a picture cannot be read.
    """
    check_destination(out)
    rows = [row_of(record) | dict(more) for record, more in zip(records, added or [{}] * len(records), strict=True)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if out.suffix.lower() == ".jsonl":
        out.parent.mkdir(parents=True, exist_ok=True)
        return write_atomic(out, text)
    some = records[:: max(1, len(records) // SAMPLE)]
    check_disk(out, len(records) * sum(len(record.read()) for record in some) / max(1, len(some)), "the copy")
    for done, record in enumerate(records, 1):
        path = out / safe_name(record.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, record.read())
        progress(done, len(records))
    return write_atomic(out / LIST, text)


def row_of(record: PictureRecord) -> dict[str, Any]:
    """Return what is known of a picture as a row that `open_dataset` reads again."""
    row: dict[str, Any] = {"file_name": safe_name(record.name)}
    if record.captions:
        row["text"] = record.captions[0] if len(record.captions) == 1 else list(record.captions)
    if record.label:
        row["label"] = record.label
    row |= {RIGHTS_FIELDS[what][0]: value for what, value in record.rights.items()}
    return row | {name: value for name, value in record.fields.items() if isinstance(value, JSON_VALUES)}


def safe_name(name: str) -> str:
    """Return a name within a data set as a path below a folder, wherever it came from."""
    parts = [part.replace(":", "_") for part in PurePosixPath(name.replace("\\", "/")).parts]
    return "/".join(part for part in parts if part not in ("..", "/", ".")) or "picture"
