"""A run on disk, such that a power cut at any moment loses minutes and never the run.

    <run>/plan.json
    <run>/checkpoints/step-0001200/{model,ema,optimiser}.safetensors, state.json

A checkpoint is written beside the others under a name nobody reads, flushed to the disk and only then
renamed, which is atomic: a folder named step-… is complete, always. The two newest are kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.nn import rename_tensors
from sumi.training.config import TrainConfig

FORMAT = 1
KEPT = 2
PARTS = ("model", "ema", "optimiser")
_WRITING = ".writing"


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a run after `step` steps; `notes` is JSON-able and holds what is not a tensor."""

    step: int
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    notes: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into the run folder and return its place."""
    home = folder / "checkpoints"
    final, draft = home / f"step-{checkpoint.step:07d}", home / _WRITING
    if final.exists():
        return final  # a step has only one outcome, and a folder of that name is complete
    with _writing(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for part in PARTS:
            _save(draft / f"{part}.safetensors", getattr(checkpoint, part))
        state = {"format": FORMAT, "step": checkpoint.step, **checkpoint.notes}
        (draft / "state.json").write_text(json.dumps(state, indent=1) + "\n")
        _flush(draft / "state.json")
        _flush(draft)
        draft.rename(final)
        _flush(home)
        for old in _complete(folder)[:-KEPT]:
            old.rename(draft)  # first out of sight: no half-deleted folder bears a complete one's name
            shutil.rmtree(draft)
    return final


def latest(folder: Path) -> Path | None:
    """Find the newest complete checkpoint of a run, if it has one."""
    found = _complete(folder)
    return found[-1] if found else None


def step_of(place: Path) -> int:
    """Read the number of steps done off a checkpoint's name."""
    return int(place.name.removeprefix("step-"))


def load_notes(place: Path) -> dict[str, Any]:
    """Read the notes of a checkpoint, its step and format among them; raises SumiError where they cannot be read."""
    try:
        notes = json.loads((place / "state.json").read_text())
        return {**notes, "step": int(notes["step"]), "format": notes["format"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SumiError(_damaged(place / "state.json", error)) from error


def load_checkpoint(place: Path) -> Checkpoint:
    """Read a checkpoint; raises SumiError naming the file that cannot be read."""
    notes = load_notes(place)
    step, layout = notes.pop("step"), notes.pop("format")
    if layout != FORMAT:
        raise SumiError(f"{place}: was written in format {layout}, and this version reads format {FORMAT}")
    parts = {part: _load(place / f"{part}.safetensors") for part in PARTS}
    return Checkpoint(step=step, notes=notes, **parts)


def load_ema(folder: str | Path, model: nn.Module | None = None) -> dict[str, Tensor]:
    """Return the averaged weights of a run's newest checkpoint, by name as in `state_dict()`.

    Args:
        folder: the run folder.
        model: the model to load them into, whose names they get if an earlier version of Sumi wrote the checkpoint.

    Raises:
        SumiError: the folder holds no checkpoint, or it cannot be read.
    """
    place = latest(Path(folder))
    if place is None:
        raise SumiError(f"{folder}: holds no checkpoint of a training run")
    weights = _load(place / "ema.safetensors")
    return weights if model is None else rename_tensors(model, weights)


def write_plan(folder: Path, plan: TrainConfig) -> None:
    """Write plan.json, atomically."""
    draft = folder / "plan.json.writing"
    with _writing(folder):
        draft.write_text(json.dumps(plan.to_json(), indent=1) + "\n")
        _flush(draft)
        draft.replace(folder / "plan.json")
        _flush(folder)


def read_plan(folder: str | Path) -> TrainConfig | None:
    """Read the plan of a run, or None where no run was begun."""
    path = Path(folder) / "plan.json"
    if not path.exists():
        return None
    try:
        return TrainConfig.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise SumiError(f"{path}: is not a plan ({error})") from error


def lock_run(folder: Path) -> IO[str]:
    """Make the run folder this process's own until the returned file is closed, or the process ends."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    try:
        held = lock_descriptor(lock.fileno(), blocking=False)
    except OSError as error:
        lock.close()
        raise SumiError(f"{folder}: its lock cannot be taken ({error}); train in a folder on a local disk") from error
    if not held:
        lock.close()
        raise SumiError(f"{folder}: another process is training in this folder; wait for it or stop it")
    return lock


def _complete(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*"), key=step_of)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # Tied weights share memory, which the format refuses: each name gets a copy of its own.
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, path)
    _flush(path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SumiError(_damaged(path, error)) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise SumiError(f"{folder}: cannot be written ({error})") from error


def _damaged(path: Path, error: Exception) -> str:
    return f"{path}: cannot be read ({error}); delete its folder to go back to the checkpoint before it"


def _flush(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, reach the disk; Windows flushes no folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
