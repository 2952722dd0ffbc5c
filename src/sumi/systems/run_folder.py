"""A training run read from its folder, whatever trained it and however far it came.

    <run>/run.json, data.json, settings.json      of the whole run, where the command writes them
    <run>/<stage>/plan.json, metrics.jsonl, ...   of each stage; a run of one stage has these files in its own folder

Only files are read here: nothing of a run is needed in memory, and a run may go on meanwhile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sumi.bundles.adapter_folder import LOG_SUFFIX, RUN_SUFFIX, adapters_folder
from sumi.bundles.json_file import read_object
from sumi.errors import SumiError
from sumi.systems.run_record import DATA_REPORT, FILE
from sumi.systems.run_settings import SETTINGS_FILE, read_settings
from sumi.systems.sticker.presets import STAGES
from sumi.training import UNKNOWN_NUM_STEPS, TrainConfig, read_config
from sumi.training.checkpoint import latest_checkpoint, load_notes, step_of

__all__ = ["RunFolder", "StageRun", "is_run", "open_run"]

METRICS, LESSON, MODEL = "metrics.jsonl", "teach.json", "model_index.json"
ORDER = ("codec", "tower", *STAGES[1:])
"""The stages of the sticker model, which keeps no record of their order."""


@dataclass(frozen=True)
class StageRun:
    """One stage of a run.

    Attributes:
        name: of the stage.
        folder: of its checkpoints and metrics.
        config: how it is trained; None where it has not said so yet.
        step: steps done, as far as a report or a checkpoint tells.
        rows: its reports, in order: step, loss, lr, images_per_s, seconds, precision and the objective's scalars.
        pictures: its sheets of samples, in order.
        notes: of its newest checkpoint.
    """

    name: str
    folder: Path
    config: TrainConfig | None
    step: int
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    pictures: tuple[Path, ...] = field(repr=False)
    notes: Mapping[str, Any] = field(repr=False)

    @property
    def num_steps(self) -> int | None:
        """Steps of the whole stage; None until a budget of time has timed its first step."""
        steps = None if self.config is None else self.config.num_steps
        return None if steps is None or steps >= UNKNOWN_NUM_STEPS else steps

    @property
    def is_finished(self) -> bool:
        """Whether all its steps are done."""
        return self.num_steps is not None and self.step >= self.num_steps > 0

    def last(self, name: str) -> Any:
        """Return the newest value of a column of the reports, None where there is none."""
        return next((row[name] for row in reversed(self.rows) if row.get(name) is not None), None)

    def column(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) of every report that holds a finite value of a column."""
        return [
            (int(row["step"]), float(row[name]))
            for row in self.rows
            if isinstance(row.get(name), int | float) and math.isfinite(row[name])
        ]


@dataclass(frozen=True)
class RunFolder:
    """A run.

    Attributes:
        folder: of the run.
        stages: in the order in which they are trained, as far as they have begun.
        record: of run.json, with the plan of each stage; empty where the command keeps none.
        data: of data.json, what was read of one's own pictures and what was left out.
        settings: of settings.json, how it was started; empty in runs of earlier versions.
        lesson: of teach.json, where a word is taught.
    """

    folder: Path
    stages: tuple[StageRun, ...]
    record: Mapping[str, Any]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    lesson: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.folder.resolve().name.removesuffix(RUN_SUFFIX).removesuffix(LOG_SUFFIX)

    @property
    def kind(self) -> str:
        """What is trained: "sticker", "teach", the name of a system, or "stage" where nothing says it."""
        if self.lesson:
            return "teach"
        command = self.settings.get("command")
        if command == "sticker" or (not self.record and {stage.name for stage in self.stages} & set(ORDER)):
            return "sticker"
        return str(self.record.get("system") or self.settings.get("system") or "stage")

    @cached_property
    def model(self) -> Path | None:
        """Where the finished model or adapter is; None where there is none."""
        named = self.settings.get("model")
        places = [Path(named)] if isinstance(named, str) else []
        for place in (*places, self.folder / "bundle"):
            if (place / MODEL).is_file() or (place.suffix and place.is_file()):
                return place
        return None

    @property
    def planned(self) -> Mapping[str, Mapping[str, float]]:
        """What each stage was planned to take: num_steps, batch_size, seconds, parameters."""
        planned = self.record.get("planned")
        return planned if isinstance(planned, dict) else {}

    @property
    def is_finished(self) -> bool:
        """Whether every stage that was planned has done all its steps."""
        begun = {stage.name for stage in self.stages}
        return bool(self.stages) and all(stage.is_finished for stage in self.stages) and set(self.planned) <= begun


def is_run(path: Path) -> bool:
    """Return whether a folder holds a training run, or the log of one."""
    if not path.is_dir() or (path / MODEL).is_file():
        return False
    return _says_run(path) or _is_stage(path) or bool(_stage_folders(path))


def open_run(path: str | Path) -> RunFolder:
    """Read a run.

    Args:
        path: its folder, or the name of an adapter that was taught.

    Raises:
        SumiError: when there is no run, or a file of it is damaged.
    """
    folder = _find(path)
    if _is_stage(folder):
        stages: Sequence[Path] = [folder]
    else:
        stages = _stage_folders(folder)
    if not stages and not _says_run(folder):
        raise SumiError(f"{folder} holds no training run: none of its folders has checkpoints or {METRICS}")
    record = _read(folder / FILE)
    order = [*(record.get("planned") or {}), *ORDER]
    stages = sorted(stages, key=lambda place: (order.index(place.name) if place.name in order else len(order), place))
    whole = len(stages) == 1 and stages[0] == folder
    return RunFolder(
        folder,
        tuple(
            read_stage(place, "the word" if whole and (folder / LESSON).is_file() else place.name) for place in stages
        ),
        record,
        _read(folder / DATA_REPORT),
        read_settings(folder),
        _read(folder / LESSON),
    )


def read_stage(folder: Path, name: str) -> StageRun:
    """Read one stage of a run (SumiError)."""
    rows, place = _rows(folder / METRICS), latest_checkpoint(folder)
    notes: Mapping[str, Any] = {} if place is None else load_notes(place)
    config = read_config(folder)
    if config is None and isinstance(notes.get("plan"), dict):
        config = TrainConfig.from_json(notes["plan"])
    done = [0 if place is None else step_of(place), *(int(row["step"]) for row in rows[-1:])]
    pictures = tuple(sorted((folder / "pictures").glob("step-*.png")))
    return StageRun(name, folder, config, max(done), rows, pictures, notes)


def _find(path: str | Path) -> Path:
    """Return the folder of a run by its place, or by the name of the adapter that it makes (SumiError)."""
    given = Path(path)
    if given.is_dir():
        return given
    home = given.parent if given.is_file() else adapters_folder()
    for suffix in (RUN_SUFFIX, LOG_SUFFIX):
        if (home / f"{given.stem}{suffix}").is_dir():
            return home / f"{given.stem}{suffix}"
    if given.is_file():
        raise SumiError(f"{given} is a file, and no log of its run is beside it: name the folder of a training run")
    raise SumiError(f"there is no run {str(path)!r}: name the folder of one, such as runs/sticker-cpu")


def _says_run(folder: Path) -> bool:
    """Whether a folder has the record of a run, which is there before anything is trained."""
    return any((folder / name).is_file() for name in (FILE, SETTINGS_FILE, LESSON))


def _is_stage(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("plan.json", METRICS, "checkpoints"))


def _stage_folders(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and _is_stage(place))


def _read(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _rows(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the reports of a stage; a last line that is being written, or was cut off, is left out."""
    if not path.is_file():
        return ()
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            found.append(row)
    return tuple(found)
