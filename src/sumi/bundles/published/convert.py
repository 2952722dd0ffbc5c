"""`sumi import`: weights in pickles become safetensors, once, and are mapped from then on.

A file becomes one safetensors file; a folder becomes a folder in which every file of weights is one. Tensors are
copied byte by byte, one at a time, so memory stays small; a draft is renamed when it is complete.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch

from sumi.bundles.published.inspection import DTYPE_NAMES
from sumi.bundles.published.torch_file import TorchFile
from sumi.bundles.published.weights import WEIGHT_SUFFIXES, Weights, inside, open_weights
from sumi.errors import SumiError

SUFFIX: Final = ".safetensors"
COPIED: Final = frozenset({".json", ".txt", ".md"})
"""What a model's folder needs beside its weights."""
Progress = Callable[[str, int, int], None]


def import_weights(source: Path, target: Path, section: str | None = None, progress: Progress | None = None) -> Path:
    """Convert a file or a folder to safetensors; returns the target.

    Args:
        source: a file of `torch.save` or safetensors, or a folder of a model.
        target: the file to write, ending in .safetensors, or the folder; neither may exist yet.
        section: of a `torch.save` file, as "ema"; default its weights.
        progress: is told the name, the number and the count of files.

    Raises:
        SumiError: for what cannot be read, is unsafe, or cannot be written.
    """
    if not source.exists():
        raise SumiError(f"there is no file or folder {str(source)!r}")
    if target.exists() or target.is_symlink():
        raise SumiError(f"{target} exists already: name another file or folder")
    try:
        return (
            _import_folder(source, target, section, progress)
            if source.is_dir()
            else _import_file(source, target, section)
        )
    except OSError as error:
        raise SumiError(f"cannot write {target}: {error.strerror or error}") from None


def _import_file(source: Path, target: Path, section: str | None) -> Path:
    if target.suffix != SUFFIX:
        raise SumiError(f"{target} should end in {SUFFIX}, the format that is written")
    weights = open_weights(source, None, section)
    described = {"format": "pt", "source": source.name}
    if isinstance(weights, TorchFile):
        described |= {"source_format": weights.kind, "section": weights.section}
    return write_safetensors(target, weights, described)


def _import_folder(source: Path, target: Path, section: str | None, progress: Progress | None) -> Path:
    if target.resolve().is_relative_to(source.resolve()):
        raise SumiError(f"{target} lies inside {source}: name a folder elsewhere")
    draft = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    files = sorted(file for file in source.rglob("*") if file.suffix in COPIED | WEIGHT_SUFFIXES and not file.is_dir())
    hidden = [file for file in files if not any(part.startswith(".") for part in file.relative_to(source).parts)]
    try:
        for number, file in enumerate(hidden):
            if progress is not None:
                progress(str(file.relative_to(source)), number, len(hidden))
            made = draft / file.relative_to(source)
            made.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix in COPIED:
                shutil.copyfile(inside(source, file), made)
            else:
                write_safetensors(made.with_suffix(SUFFIX), open_weights(file, source, section), {"format": "pt"})
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def write_safetensors(path: Path, weights: Weights, metadata: Mapping[str, str]) -> Path:
    """Write all tensors of some weights as a safetensors file, one after the other; an existing file is refused.

    The widest dtypes come first, so that every tensor is aligned.
    """
    if path.exists():
        raise SumiError(f"{path} would be written twice: two files of weights share its name")
    names = sorted(weights.entries, key=lambda name: (-weights.entries[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        entry = weights.entries[name]
        begin, end = end, end + entry.dtype.itemsize * torch.Size(entry.shape).numel()
        header[name] = {"dtype": DTYPE_NAMES[entry.dtype], "shape": list(entry.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                flat = weights.tensor(name).contiguous().reshape(-1)
                file.write(flat.view(torch.uint8).numpy().data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
