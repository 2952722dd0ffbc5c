"""The weights of one part: a safetensors file, read without trust and written the same way every time.

Layout: 8 bytes n (little endian), n bytes of JSON {name: {dtype, shape, data_offsets}}, then the data. A
file is taken only when its tensors cover the data exactly, without gap or overlap, and each one's bytes
equal its shape times its dtype. Parameters are kept in bfloat16 and buffers (statistics) as they are, in a
fixed order, so that the sha256 of the file names the weights.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sumi.bundles.json_file import parse_json
from sumi.errors import SumiError

__all__ = [
    "DTYPES",
    "LARGEST_HEADER_BYTES",
    "Entry",
    "TensorFile",
    "check_name",
    "map_file",
    "serialise",
    "tensor_at",
    "weight_hash",
]

LARGEST_HEADER_BYTES = 16 * 2**20
LONGEST_NAME = 500
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """One tensor as the header declares it; begin and end count bytes from the start of the file.

    stride: in elements, where it is not that of a contiguous tensor.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int
    stride: tuple[int, ...] | None = None


class TensorFile:
    """A checked safetensors file, mapped into memory.

    entries: what the header says of each tensor. metadata: the strings that its writer added.
    """

    def __init__(self, path: Path) -> None:
        """Map and check the file; SumiError when it is missing or damaged."""
        self.path = path
        self._bytes = map_file(path)
        self.entries, self.metadata = _read_header(self._bytes, path)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call tensors whose name is a key of `names` by its value from now on."""
        self.entries = {names.get(name, name): entry for name, entry in self.entries.items()}

    def sha256(self) -> str:
        """Return the hash of the whole file."""
        return hashlib.sha256(self._bytes).hexdigest()

    def tensor(self, name: str) -> Tensor:
        """Return one tensor: a view of the mapped file, private to this process and not copied."""
        return tensor_at(self._bytes, self.entries[name])


def map_file(path: Path) -> mmap.mmap:
    """Map a file into memory; what is written to the map stays in this process. SumiError when it cannot be read."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < 8:
                raise SumiError(f"{path} is damaged: it is too short to hold weights")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError:
        raise SumiError(f"{path} is missing, and the model cannot be read without it") from None
    except OSError as error:
        raise SumiError(f"{path} cannot be read: {error.strerror or error}") from None


def tensor_at(data: mmap.mmap, entry: Entry) -> Tensor:
    """Return the tensor that an entry describes, as a view of the mapped bytes; copied only where it is unaligned."""
    if math.prod(entry.shape) == 0:
        return torch.empty(entry.shape, dtype=entry.dtype)
    raw = torch.frombuffer(data, dtype=torch.uint8, count=entry.end - entry.begin, offset=entry.begin)
    flat = (raw.clone() if entry.begin % entry.dtype.itemsize else raw).view(entry.dtype)
    return flat.view(entry.shape) if entry.stride is None else flat.as_strided(entry.shape, entry.stride)


def check_name(name: str, path: Path) -> str:
    """Return the name of a tensor; SumiError when it cannot be printed on a line."""
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise SumiError(f"{path} is damaged: {name[:60]!r} cannot be the name of a tensor")
    return name


def _read_header(data: mmap.mmap, path: Path) -> tuple[Mapping[str, Entry], Mapping[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER_BYTES:
        claim = f"its header claims {length} bytes, over {LARGEST_HEADER_BYTES}"
        raise SumiError(f"{path} is damaged, or no file of weights: {claim}")
    if 8 + length > len(data):
        raise SumiError(f"{path} is truncated: its header claims {length} bytes and the file has {len(data)}")
    header = parse_json(data[8 : 8 + length], f"the header of {path}")
    if not isinstance(header, dict):
        raise SumiError(f"{path} is damaged: its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise SumiError(f"{path} is damaged: its metadata should be strings")
    entries = {check_name(name, path): _entry(name, row, 8 + length, path) for name, row in header.items()}
    reached = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != reached:
            fault = "overlaps another tensor" if entry.begin < reached else "leaves a gap before it"
            raise SumiError(f"{path} is damaged: tensor {name} {fault}")
        if entry.end > len(data):
            raise SumiError(f"{path} is truncated: tensor {name} ends past the end of the file")
        reached = entry.end
    if reached != len(data):
        raise SumiError(f"{path} is damaged: {len(data) - reached} bytes follow the last tensor")
    return entries, metadata


def _entry(name: str, row: Any, start: int, path: Path) -> Entry:
    def counts(value: Any) -> bool:
        return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)

    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise SumiError(f"{path} is damaged: tensor {name} needs a dtype, a shape and data_offsets")
    dtype = DTYPES.get(row["dtype"]) if isinstance(row["dtype"], str) else None
    if dtype is None:
        raise SumiError(f"{path}: tensor {name} has dtype {row['dtype']!r}; known are {', '.join(DTYPES)}")
    shape, offsets = row["shape"], row["data_offsets"]
    if not counts(shape) or not counts(offsets) or len(offsets) != 2:
        raise SumiError(f"{path} is damaged: tensor {name} has a malformed shape or offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise SumiError(f"{path} is damaged: tensor {name} has {end - begin} bytes, and its shape says otherwise")
    return Entry(dtype, tuple(shape), start + begin, start + end)


def serialise(part: nn.Module) -> bytes:
    """Return the part's safetensors file: parameters in bfloat16, buffers as they are."""
    parameters = {name for name, _ in part.named_parameters(remove_duplicate=False)}
    tensors = {
        name: tensor.detach().to("cpu", torch.bfloat16 if name in parameters else tensor.dtype, copy=True).contiguous()
        for name, tensor in part.state_dict().items()
    }
    return save(tensors)


def weight_hash(part: nn.Module) -> str:
    """Return the sha256 of the file that the part would be saved as: the name of its weights."""
    return hashlib.sha256(serialise(part)).hexdigest()
