"""A run on disk. A power cut at any moment loses minutes of it, and never the run.

    <run>/plan.json
    <run>/checkpoints/step-0001200/{model,ema,optimiser}.safetensors, state.json

A checkpoint is written to a draft folder beside the others, flushed to the disk and then renamed, which is atomic. So a
folder named step-… is always complete. The two newest are kept.
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

__all__ = [
    "KEPT",
    "Checkpoint",
    "latest_checkpoint",
    "load_checkpoint",
    "load_ema",
    "load_notes",
    "lock_run",
    "read_config",
    "save_checkpoint",
    "step_of",
    "write_config",
]

FORMAT = 1
KEPT = 2
PARTS = ("model", "ema", "optimiser")
_WRITING = ".writing"


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a run after `step` steps; `notes` holds JSON-able values that are not tensors."""

    step: int
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    notes: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into the run folder and return its path; SumiError if it cannot be written."""
    home = folder / "checkpoints"
    final, draft = home / f"step-{checkpoint.step:07d}", home / _WRITING
    if final.exists():
        return final  # it is complete, and a step has only one outcome
    with _report_write_errors(folder):
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
        for old in _list_checkpoints(folder)[:-KEPT]:
            old.rename(draft)  # first, so that a half-deleted folder never has a complete one's name
            shutil.rmtree(draft)
    return final


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the path of the newest complete checkpoint of a run, or None."""
    found = _list_checkpoints(folder)
    return found[-1] if found else None


def step_of(place: Path) -> int:
    """Read the number of steps from a checkpoint's name."""
    return int(place.name.removeprefix("step-"))


def load_notes(place: Path) -> dict[str, Any]:
    """Read the notes of a checkpoint, with its step and format; SumiError if they cannot be read."""
    try:
        notes = json.loads((place / "state.json").read_text())
        return {**notes, "step": int(notes["step"]), "format": notes["format"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SumiError(_damage_message(place / "state.json", error)) from error


def load_checkpoint(place: Path) -> Checkpoint:
    """Read a checkpoint; SumiError names the file that cannot be read."""
    notes = load_notes(place)
    step, layout = notes.pop("step"), notes.pop("format")
    if layout != FORMAT:
        raise SumiError(f"{place}: has format {layout}, and this version of Sumi reads format {FORMAT}")
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
    place = latest_checkpoint(Path(folder))
    if place is None:
        raise SumiError(f"{folder}: holds no checkpoint of a training run")
    weights = _load(place / "ema.safetensors")
    return weights if model is None else rename_tensors(model, weights)


def write_config(folder: Path, config: TrainConfig) -> None:
    """Write plan.json atomically."""
    draft = folder / "plan.json.writing"
    with _report_write_errors(folder):
        draft.write_text(json.dumps(config.to_json(), indent=1) + "\n")
        _flush(draft)
        draft.replace(folder / "plan.json")
        _flush(folder)


def read_config(folder: str | Path) -> TrainConfig | None:
    """Read the config of a run from its plan.json, or return None where no run was started.

    Raises:
        SumiError: the file cannot be read, or is not a config.
    """
    path = Path(folder) / "plan.json"
    if not path.exists():
        return None
    try:
        return TrainConfig.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise SumiError(f"{path}: is not a training config ({error})") from error


def lock_run(folder: Path) -> IO[str]:
    """Lock the run folder until the returned file is closed or the process ends.

    Raises:
        SumiError: another process holds the lock, or the file system has no locks.
    """
    with _report_write_errors(folder):
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


def _list_checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*"), key=step_of)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # safetensors refuses tensors that share memory, as tied weights do; each gets a copy of its own.
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, path)
    _flush(path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SumiError(_damage_message(path, error)) from error


@contextmanager
def _report_write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise SumiError(f"{folder}: cannot be written ({error})") from error


def _damage_message(path: Path, error: Exception) -> str:
    return f"{path}: cannot be read ({error}); delete its folder to go back to the checkpoint before it"


def _flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk; Windows cannot flush a folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
