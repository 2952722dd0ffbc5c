"""Checkpoints that would run code, or are damaged, added to the cases of `bad_weights`."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bad_weights import case
from published_weights import FILES, stable_diffusion_folder
from safetensors.torch import load_file


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


def touch(root: Path) -> str:
    return f"{sys.executable} -c \"open({str(root / 'executed')!r}, 'w')\""


@case("a checkpoint that runs a command", "the global '(posix|nt).system'")
def _(root: Path) -> Path:
    torch.save({"state_dict": FILES["karlo-prior"], "extra": Runs(os.system, touch(root))}, root / "model.ckpt")
    return root / "model.ckpt"


@case("a checkpoint that evaluates code", "the global 'builtins.exec'")
def _(root: Path) -> Path:
    torch.save({"state_dict": Runs(exec, f"open({str(root / 'executed')!r}, 'w')")}, root / "model.ckpt")
    return root / "model.ckpt"


@case("a checkpoint that imports", "the global 'builtins.__import__'")
def _(root: Path) -> Path:
    torch.save([Runs(__import__, "antigravity")], root / "model.pt")
    return root / "model.pt"


@case("a bare pickle that runs a command", "the global 'subprocess.Popen'")
def _(root: Path) -> Path:
    (root / "model.pkl").write_bytes(pickle.dumps(Runs(subprocess.Popen, touch(root)), protocol=4))
    return root / "model.pkl"


@case("a checkpoint before PyTorch 1.6 that runs a command", "the global '(posix|nt).system'")
def _(root: Path) -> Path:
    made = {"state_dict": Runs(os.system, touch(root))}
    torch.save(made, root / "model.pt", _use_new_zipfile_serialization=False)
    return root / "model.pt"


@case("a pickled module of another's code", "the global 'torch.nn.modules.linear.Linear'")
def _(root: Path) -> Path:
    torch.save(torch.nn.Linear(2, 2), root / "model.pt")
    return root / "model.pt"


@case("a bare pickle without tensors", "bare pickle")
def _(root: Path) -> Path:
    (root / "model.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    return root / "model.pkl"


@case("a pickle in a folder's part that runs a command", "the global '(posix|nt).system'")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "text_encoder" / "model.safetensors"
    torch.save({**load_file(path), "extra": Runs(os.system, touch(root))}, path.with_name("pytorch_model.bin"))
    path.unlink()
    return root / "m"


@case("a pickle named safetensors that runs a command", "the global '(posix|nt).system'")
def _(root: Path) -> Path:
    torch.save({"a": Runs(os.system, touch(root))}, root / "model.safetensors")
    return root / "model.safetensors"


def rewritten(root: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> Path:
    """A checkpoint whose archive was rewritten record by record; None leaves a record out."""
    whole = io.BytesIO()
    torch.save({"state_dict": FILES["karlo-prior"]}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(root / "model.ckpt", "w", compression) as made:
        for info in source.infolist():
            data = change(info.filename, source.read(info))
            if data is not None:
                made.writestr(info.filename, data)
    return root / "model.ckpt"


@case("a checkpoint without a storage", "missing or too short")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: None if name.endswith("data/0") else data)


@case("a checkpoint with a short storage", "missing or too short")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: data[:-4] if name.endswith("data/0") else data)


@case("a checkpoint of compressed records", "compressed or encrypted")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: data, zipfile.ZIP_DEFLATED)


@case("a checkpoint of a big-endian machine", "big-endian")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: b"big" if name.endswith("byteorder") else data)


@case("a checkpoint whose pickle is cut short", "damaged|no end")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: data[: len(data) // 2] if name.endswith("data.pkl") else data)


@case("a checkpoint that is truncated", "damaged|truncated")
def _(root: Path) -> Path:
    path = rewritten(root, lambda name, data: data)
    path.write_bytes(path.read_bytes()[:-200])
    return path


@case("a zip archive of something else", "not one of torch.save")
def _(root: Path) -> Path:
    with zipfile.ZipFile(root / "model.pt", "w") as made:
        made.writestr("readme.txt", "hello")
    return root / "model.pt"


@case("a tensor larger than its storage", "outside its storage")
def _(root: Path) -> Path:
    torch.save({"state_dict": {"a": torch.zeros(1).expand(10**6)}}, root / "model.pt")
    return root / "model.pt"


@case("a pickle that repeats itself without end", "too deeply or repeats itself")
def _(root: Path) -> Path:
    value: Any = [torch.zeros(1)]
    for _ in range(40):
        value = [value, value]
    torch.save({"state_dict": value}, root / "model.pt")
    return root / "model.pt"


@case("a pickle with a string of 4 GB", "damaged|memory")
def _(root: Path) -> Path:
    return rewritten(root, lambda name, data: b"\x80\x02X\xff\xff\xff\xffabc" if name.endswith("data.pkl") else data)


@case("a section that is not there", "no published layout|no weights in the section")
def _(root: Path) -> Path:
    torch.save({"state_dict": {"epoch": 1}}, root / "model.pt")
    return root / "model.pt"
