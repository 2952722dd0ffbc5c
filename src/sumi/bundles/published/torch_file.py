"""A file of `torch.save` as a table of mapped tensors: nothing in it is unpickled, and nothing of it is executed.

A child process with bounds on memory and time (`pickle_index.py`) says where each tensor lies; this module checks
the answer against the file and maps the bytes.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from sumi.bundles.tensors import DTYPES, Entry, check_name, map_file, tensor_at
from sumi.errors import SumiError

COMMAND: Final = (sys.executable, "-I", str(Path(__file__).with_name("pickle_index.py")))
"""The reader is run by its path: importing its package would import torch."""
LONGEST_S: Final = 120
SECTIONS: Final = ("state_dict", "model", "model_state_dict", "ema_model")
"""Where training scripts keep the weights, in the order of preference."""
INFLATION: Final = 3
"""All tensors together may be this many times as large as their file: tied weights are stored once."""


class TorchFile:
    """The tensors of one section of a `torch.save` file, mapped into memory.

    section: the key of the root under which they lie, as "state_dict"; "" is the root itself; None takes the first of
    SECTIONS that is there.
    """

    def __init__(self, path: Path, section: str | None = None) -> None:
        """Index and map the file; SumiError names the fault, or the global that weights have no need of."""
        self.path = path
        answer = read_index(path)
        self.kind: str = answer["kind"]
        self.metadata: Mapping[str, str] = {}
        self.sections = dict.fromkeys(str(row[0]) for row in answer["tensors"])
        self.section = self._choose(section)
        self._bytes = map_file(path)
        self.entries: dict[str, Entry] = {}
        for of, name, kind, shape, stride, begin in answer["tensors"]:
            if of == self.section:
                self._add(name, kind, tuple(shape), tuple(stride), begin)
        total = sum(math.prod(entry.shape) * entry.dtype.itemsize for entry in self.entries.values())
        if total > INFLATION * len(self._bytes):
            raise SumiError(f"{path} is damaged: its tensors claim {total} bytes, and the file has {len(self._bytes)}")

    def tensor(self, name: str) -> Tensor:
        """Return one tensor: a view of the mapped file, private to this process and not copied."""
        return tensor_at(self._bytes, self.entries[name])

    def _choose(self, section: str | None) -> str:
        if section is None:
            section = next((name for name in SECTIONS if name in self.sections), "")
        if section not in self.sections:
            there = ", ".join(repr(name) for name in list(self.sections)[:8]) or "none"
            raise SumiError(f"{self.path} has no weights in the section {section!r}; sections with tensors: {there}")
        return section

    def _add(self, name: str, kind: str, shape: tuple[int, ...], stride: tuple[int, ...], begin: int) -> None:
        dtype = DTYPES[kind]
        span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        end = begin + (span * dtype.itemsize if math.prod(shape) else 0)
        if check_name(name, self.path) in self.entries:
            raise SumiError(f"{self.path} holds the tensor {name} twice")
        if begin < 0 or end > len(self._bytes):
            raise SumiError(f"{self.path} is truncated: tensor {name} ends past the end of the file")
        self.entries[name] = Entry(dtype, shape, begin, end, stride)


def read_index(path: Path) -> dict[str, Any]:
    """Return where the tensors of a `torch.save` file lie, as the child process found it; SumiError for the rest."""
    if not path.is_file():
        raise SumiError(f"{path} is missing, and the model cannot be read without it")
    system = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}  # Windows needs it
    try:
        ran = subprocess.run(
            [*COMMAND, os.path.abspath(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_S,
            env=system,
        )
        answer: dict[str, Any] = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise SumiError(f"{path} cannot be read: its pickle takes too much time or memory") from None
    if "error" in answer:
        raise SumiError(f"{path} is refused: {answer['error']}")
    return answer
