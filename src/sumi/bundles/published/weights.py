"""Weights as they are published: one safetensors file, shards with an index, or a file of `torch.save`.

All three answer alike: `entries` say the name, dtype and shape of every tensor before any is read, and `tensor` maps
one. What a file is, its first bytes say and not its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from torch import Tensor

from sumi.bundles.json_file import read_object
from sumi.bundles.published.torch_file import TorchFile
from sumi.bundles.tensors import Entry, TensorFile
from sumi.errors import SumiError

INDEX_SUFFIX: Final = ".index.json"
WEIGHT_SUFFIXES: Final = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".th", ".bin", ".pkl"})


class Weights(Protocol):
    """Named tensors of a file or of several, none of which is read before it is asked for."""

    @property
    def path(self) -> Path:
        """The file, or the index of the shards."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The dtype and shape of each tensor."""

    def tensor(self, name: str) -> Tensor:
        """Return one tensor."""


class Shards:
    """Safetensors files that share the tensors of one network, as `*.safetensors.index.json` divides them."""

    def __init__(self, path: Path, root: Path) -> None:
        """Open all shards; SumiError when one is missing, lies outside, or holds other tensors than the index says."""
        self.path = path
        weight_map = read_object(path).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise SumiError(f"{path} needs a weight_map: an object of tensor names and file names")
        self._files: dict[str, TensorFile] = {}
        for name, shard in weight_map.items():
            if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
                raise SumiError(
                    f"{path}: the shard of {name} should be the name of a .safetensors file beside the index"
                )
            if shard not in self._files:
                self._files[shard] = TensorFile(inside(root, path.parent / shard))
        self._shard_of: dict[str, str] = weight_map
        self.entries: dict[str, Entry] = {}
        for shard, file in self._files.items():
            listed = {name for name, of in weight_map.items() if of == shard}
            if listed != file.entries.keys():
                first = sorted(listed ^ file.entries.keys())[0]
                there = "the index lists it there" if first in listed else "the index does not list it there"
                raise SumiError(f"{file.path} does not fit {path.name}: tensor {first}: {there}")
            self.entries.update(file.entries)

    def tensor(self, name: str) -> Tensor:
        """Return one tensor."""
        return self._files[self._shard_of[name]].tensor(name)


def open_weights(path: Path, root: Path | None = None, section: str | None = None) -> Weights:
    """Open weights without reading a tensor.

    Args:
        path: a safetensors file, a file of `torch.save`, or the index of shards.
        root: the folder of the model that the file must lie in; default its own folder.
        section: of a `torch.save` file (see `TorchFile`).

    Raises:
        SumiError: for what is missing, damaged, outside of the folder, or holds more than tensors.
    """
    path = inside(root or path.parent, path)
    if path.name.endswith(INDEX_SUFFIX):
        return Shards(path, root or path.parent)
    return TorchFile(path, section) if is_torch_file(path) else TensorFile(path)


def is_torch_file(path: Path) -> bool:
    """Whether the first bytes are those of a zip archive or of a pickle."""
    try:
        with path.open("rb") as file:
            start = file.read(10)
    except FileNotFoundError:
        raise SumiError(f"{path} is missing, and the model cannot be read without it") from None
    except OSError as error:
        raise SumiError(f"{path} cannot be read: {error.strerror or error}") from None
    # a safetensors file begins with the length of its header, and then has a brace where a pickle has neither
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[8:9] != b"{")


def inside(root: Path, path: Path) -> Path:
    """Return the path, which may be a link within the folder or into its hub cache; SumiError for a way out of it.

    A hub cache keeps `models--OWNER--NAME/snapshots/REVISION`, whose files are links into `models--OWNER--NAME/blobs`.
    """
    base, real = root.resolve(), path.resolve()
    cache = base.parents[1] if len(base.parents) > 1 and base.parent.name == "snapshots" else None
    if real.is_relative_to(base) or (cache is not None and real.parent == cache / "blobs"):
        return path
    raise SumiError(f"{path} is a link out of {root}: a model's files lie in its own folder")
