"""Features of a pool of pictures by frozen networks, computed once and kept beside the run as mapped arrays.

The decoder never sees a pixel: it learns latents (Rombach et al. 2022) under embeddings, both from networks that
no longer change, so computing them ahead is the largest saving there is on a small machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sumi.hardware import autocast

__all__ = ["compute_features"]

BATCH = 256


def compute_features(
    folder: Path,
    name: str,
    made_by: str,
    examples: Any,
    network: Callable[[Tensor], Tensor],
    device: torch.device,
    progress: Callable[[str, int, int], None],
) -> Any:
    """Open `<folder>/<name>.npy` (N, …) float16, computing it first unless the same weights already did.

    network: rows of `examples` as tensors to what is kept. made_by: hash of its weights; an array made by others
    is made anew.
    """
    path, note = folder / f"{name}.npy", folder / f"{name}.json"
    record = {"made_by": made_by, "count": len(examples)}
    if not (path.exists() and note.exists() and json.loads(note.read_text("utf-8")) == record):
        folder.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        _fill(path, name, examples, network, device, progress)
        note.write_text(json.dumps(record), "utf-8")
    return np.load(path, mmap_mode="r")


@torch.no_grad()
def _fill(
    path: Path,
    name: str,
    examples: Any,
    network: Callable[[Tensor], Tensor],
    device: torch.device,
    progress: Callable[[str, int, int], None],
) -> None:
    out: Any = None
    for start in range(0, len(examples), BATCH):
        batch = torch.from_numpy(np.array(examples[start : start + BATCH])).to(device)
        with autocast(device):
            made = network(batch).float().cpu().numpy().astype(np.float16)
        if out is None:
            out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(examples), *made.shape[1:]))
        out[start : start + len(made)] = made
        progress(name, start + len(made), len(examples))
    out.flush()
