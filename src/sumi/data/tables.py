"""Tables with pictures in them: parquet files, and the directories that Hugging Face `datasets` saves to disk.

    train-00000-of-00001.parquet    columns image {bytes, path} or bytes, text, ...
    dataset_info.json, state.json, data-00000-of-00001.arrow               one split, of `save_to_disk`
    dataset_dict.json, train/, test/                                       several splits; of these, train is read

Rows are read one group at a time, the picture's column last of all, so a table may be larger than memory.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from sumi.data.captions import read_text
from sumi.data.image_folder import FileBytes
from sumi.data.picture_dataset import (
    LABEL_FIELDS,
    NAME_FIELDS,
    PictureDataset,
    PictureRecord,
    finish_records,
    make_record,
)
from sumi.data.storage import is_url, open_file, version_of
from sumi.errors import SumiError
from sumi.imaging.image_file import LARGEST_FILE_BYTES

__all__ = ["RowBytes", "is_datasets_directory", "read_datasets_directory", "read_parquet", "read_rows"]

IMAGE_FIELDS = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
KEPT_GROUPS = 4
TRAIN = "train"
STATE, SPLITS_FILE = "state.json", "dataset_dict.json"


@dataclass(frozen=True)
class RowBytes:
    """Reads the picture of a row.

    kind: "parquet" or "arrow". group, row: the group of rows, and the row within it. column: of the pictures.
    """

    place: str
    kind: str
    group: int
    row: int
    column: str

    def __call__(self) -> bytes:
        """Return its bytes; SumiError where the table holds none."""
        value = _pictures_of(self.place, self.kind, self.group, self.column, version_of(self.place))[self.row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            raise SumiError(f"{self.place}, row {self.row:,} of group {self.group:,}: it has no bytes of a picture")
        if len(data) > LARGEST_FILE_BYTES:
            raise SumiError(f"{self.place}: {len(data):,} bytes are too many for a picture")
        return bytes(data)


def read_parquet(place: str, files: Sequence[str]) -> PictureDataset:
    """Return the pictures of parquet files.

    Args:
        place: what was asked for.
        files: paths or URLs.

    Raises:
        SumiError: when pyarrow is missing, or a file is damaged or has no column of pictures.
    """
    return _read_tables(place, "parquet", "parquet", files, None)


def read_datasets_directory(folder: Path) -> PictureDataset:
    """Return the pictures of a directory that `datasets` saved: of its train split, where it has several.

    Raises:
        SumiError: when pyarrow is missing, or the directory is damaged or has no column of pictures.
    """
    notes: tuple[str, ...] = ()
    place = folder
    if (folder / SPLITS_FILE).is_file():
        splits = _json(folder / SPLITS_FILE).get("splits", [])
        if not splits:
            raise SumiError(f"{folder / SPLITS_FILE} names no splits")
        chosen = TRAIN if TRAIN in splits else str(splits[0])
        rest = [str(split) for split in splits if split != chosen]
        notes = (f"the split {chosen} is read; not looked at: {', '.join(rest)}",) if rest else ()
        place = folder / chosen
    files = [place / str(entry.get("filename")) for entry in _json(place / STATE).get("_data_files", [])]
    if not files:
        raise SumiError(f"{place / STATE} names no data files")
    return _read_tables(str(folder), "datasets directory", "arrow", list(map(str, files)), place, notes)


def is_datasets_directory(folder: Path) -> bool:
    """Whether `datasets` saved this directory."""
    return (folder / SPLITS_FILE).is_file() or ((folder / STATE).is_file() and any(folder.glob("*.arrow")))


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a parquet file that has no pictures in it."""
    table = _open_table(str(path), "parquet")
    for group in range(table.num_groups):
        yield from table.read(group, [field.name for field in table.schema]).to_pylist()


def _read_tables(
    place: str, named: str, kind: str, files: Sequence[str], root: Path | None, notes: tuple[str, ...] = ()
) -> PictureDataset:
    records: list[PictureRecord] = []
    for number, file in enumerate(files):
        table = _open_table(file, kind)
        column, classes = _image_column(file, table.schema), _class_names(table.schema)
        for group in range(table.num_groups):
            for row, fields in enumerate(table.describe(group, column)):
                read = RowBytes(file, kind, group, row, column)
                records.append(_record(fields, read, f"{number:05d}/{group:05d}/{row:09d}", classes, root))
    if not records:
        raise SumiError(f"there are no rows in {place}")
    return PictureDataset(place, named, finish_records(records), notes=notes)


def _record(
    fields: dict[str, Any], read: RowBytes, number: str, classes: Mapping[str, Sequence[str]], root: Path | None
) -> PictureRecord:
    """The record of a row; pictures that `datasets` left outside its tables are read where they lie in its folder."""
    stored: Mapping[str, Any] = fields.pop(read.column)
    by_name = {key.casefold(): key for key in fields}
    given = next((fields.pop(by_name[key]) for key in NAME_FIELDS if key in by_name), None)
    name = str(given or stored["path"] or number)
    for key, names in classes.items():
        value = fields.get(key)
        if isinstance(value, int) and 0 <= value < len(names):
            fields[key] = names[value]
    position = (read.place, read.group * 2**32 + read.row)
    if root is not None and stored["path"] and not stored["bytes"]:
        outside = root / stored["path"]
        if outside.resolve().is_relative_to(root.resolve()):
            return make_record(name, fields, FileBytes(outside), position, path=outside)
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
    return make_record("/".join(parts) or number, fields, read, position)


def _image_column(file: str, schema: Any) -> str:
    """The column of pictures; SumiError naming the columns where there is none."""
    import pyarrow

    def holds_bytes(kind: Any) -> bool:
        return "bytes" in _fields_of(kind) or bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field.type)]
    named = [name for name in found if name.casefold() in IMAGE_FIELDS]
    if len(named or found) != 1:
        raise SumiError(
            f"{file} should have one column with the bytes of pictures, named {', '.join(IMAGE_FIELDS[:3])} or the "
            f"like; its columns are {', '.join(f'{field.name} ({field.type})' for field in schema)[:300]}"
        )
    return str((named or found)[0])


def _fields_of(kind: Any) -> list[str]:
    """The names of the fields of a struct; none for another type."""
    import pyarrow

    return [field.name for field in kind] if pyarrow.types.is_struct(kind) else []


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names of classes that `datasets` keeps beside a column of their numbers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        labels = {name: row["names"] for name, row in features.items() if name.casefold() in LABEL_FIELDS}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: [str(known) for known in names] for name, names in labels.items() if isinstance(names, list)}


# Opening -----------------------------------------------------------------------------------------------------


class _Table(ABC):
    """A table in groups of rows. Rows of a group are read without the bytes of their pictures."""

    schema: Any
    num_groups: int

    @abstractmethod
    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return columns of a group, as a table of pyarrow; "image.path" is the field of a struct."""

    def describe(self, group: int, column: str) -> list[dict[str, Any]]:
        """Return the rows of a group; the column of pictures says {"path", "bytes": whether there are any}."""
        image = next(field for field in self.schema if field.name == column)
        inner = _fields_of(image.type)
        others = [field.name for field in self.schema if field.name != column]
        rows: list[dict[str, Any]] = self.read(group, others).to_pylist() if others else []
        paths = self.read(group, [f"{column}.path"]).column(0).to_pylist() if "path" in inner else []
        told = [path.get("path") if isinstance(path, dict) else path for path in paths]
        valid = self.has_bytes(group, column)
        rows = rows or [{} for _ in valid]
        told = told or [None] * len(valid)
        return [
            {**row, column: {"path": path, "bytes": there}} for row, path, there in zip(rows, told, valid, strict=True)
        ]

    @abstractmethod
    def has_bytes(self, group: int, column: str) -> list[bool]:
        """Return for each row of a group whether it holds a picture, as far as that is known without reading it."""


class _Parquet(_Table):
    def __init__(self, file: str) -> None:
        import pyarrow.parquet

        self.file = pyarrow.parquet.ParquetFile(open_file(file) if is_url(file) else file)
        self.schema, self.num_groups = self.file.schema_arrow, int(self.file.num_row_groups)

    def read(self, group: int, columns: Sequence[str]) -> Any:
        return self.file.read_row_group(group, columns=list(columns))

    def has_bytes(self, group: int, column: str) -> list[bool]:
        return [True] * int(self.file.metadata.row_group(group).num_rows)


class _Arrow(_Table):
    def __init__(self, file: str) -> None:
        import pyarrow

        source = pyarrow.memory_map(file)
        try:
            reader = pyarrow.ipc.open_stream(source)
            self.batches = list(reader)
        except pyarrow.ArrowInvalid:
            reader = pyarrow.ipc.open_file(source)
            self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.schema, self.num_groups = reader.schema, len(self.batches)

    def read(self, group: int, columns: Sequence[str]) -> Any:
        import pyarrow

        batch = self.batches[group]
        arrays = []
        for name in columns:
            outer, _, inner = name.partition(".") if name not in batch.schema.names else (name, "", "")
            array = batch.column(outer)
            arrays.append(array.field(array.type.get_field_index(inner)) if inner else array)
        return pyarrow.table(arrays, names=list(columns))

    def has_bytes(self, group: int, column: str) -> list[bool]:
        array = self.batches[group].column(column)
        stored = array.field(array.type.get_field_index("bytes")) if _fields_of(array.type) else array
        valid: list[bool] = stored.is_valid().to_pylist()
        return valid


def _open_table(file: str, kind: str) -> _Table:
    """Open a table, or return the one that is open; SumiError where it is damaged, or where pyarrow is missing."""
    return _open_version(file, kind, version_of(file))


@lru_cache(maxsize=8)
def _open_version(file: str, kind: str, version: tuple[int, int] | None) -> _Table:
    try:
        import pyarrow
    except ImportError:
        raise SumiError('reading parquet and arrow files needs pyarrow: pip install "sumi[data]"') from None
    try:
        return _Parquet(file) if kind == "parquet" else _Arrow(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise SumiError(f"{file} is no {kind} file that can be read: {' '.join(str(error).split())[:200]}") from None


@lru_cache(maxsize=KEPT_GROUPS)
def _pictures_of(file: str, kind: str, group: int, column: str, version: tuple[int, int] | None) -> Any:
    """The pictures of a group, kept so that its rows do not read it again."""
    import pyarrow

    try:
        return _open_table(file, kind).read(group, [column]).column(0)
    except (pyarrow.ArrowException, OSError) as error:
        raise SumiError(f"{file} is damaged: {' '.join(str(error).split())[:200]}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except ValueError:
        raise SumiError(f"{path}: this is not JSON") from None
    if not isinstance(values, dict):
        raise SumiError(f"{path} should hold a JSON object")
    return values
