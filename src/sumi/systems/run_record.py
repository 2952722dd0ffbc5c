"""The record of a run folder: its system, its data and its budget; other data is refused by name.

<run>/run.json    {"system": ..., "data": {...}, "budget_s": ..., "spent_s": ..., "finished": [...], ...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError
from sumi.systems import System
from sumi.systems.dataset import TrainingData
from sumi.training import read_config

__all__ = ["DATA_REPORT", "FILE", "RunRecord", "open_record", "write_data_report"]

FORMAT = 1
FILE, DATA_REPORT = "run.json", "data.json"


@dataclass
class RunRecord:
    """The record of a run folder.

    data: see `data_of`. budget_s, spent_s: seconds of the clock of its time budget, given and used, in all sessions.
    finished: stages that have had their part of that budget. planned: num_steps and seconds of each stage, as the first
    session estimated them. took_s: the seconds that each has taken, in all sessions.
    """

    folder: Path
    system: str
    data: dict[str, Any]
    budget_s: float | None = None
    spent_s: float = 0.0
    finished: list[str] = field(default_factory=list)
    planned: dict[str, dict[str, float]] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)

    def save(self) -> None:
        """Write the record atomically."""
        values = {**asdict(self), "format": FORMAT}
        del values["folder"]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SumiError(f"{self.folder}: cannot be written ({error.strerror or error})") from None
        write_atomic(self.folder / FILE, json.dumps(values, indent=1) + "\n")


def write_data_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write what was read and what was left out, every sample by its name, into a run folder."""
    write_atomic(folder / DATA_REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def open_record(folder: Path, system: System, material: TrainingData) -> RunRecord:
    """Return the record of a run folder, a new one where nothing has been trained.

    Raises SumiError naming everything in which the folder's run and this one differ: system, size, pictures, captions
    or labels.
    """
    data, path = data_of(material), folder / FILE
    if not path.exists():
        if any(read_config(place) is not None for place in folder.glob("*/") if place.is_dir()):
            raise SumiError(f"{folder}: holds a run that does not say what it was trained on; choose another --run")
        return RunRecord(folder, system.name, data)
    try:
        values = json.loads(path.read_text("utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("it has another format")
        record = RunRecord(folder=folder, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SumiError(f"{path}: cannot be read ({error}); choose another --run") from None
    if differences := _differences(record, system, data):
        raise SumiError(
            f"{folder}: was begun with other data: {'; '.join(differences)}; choose another --run, or delete it"
        )
    return record


def data_of(material: TrainingData) -> dict[str, Any]:
    """Return the identity of the data: size_px, count, classes, beginning, and sha256 of pictures, captions, labels."""
    examples = material.examples
    labels = examples.labels
    return {
        "size_px": material.size_px,
        "count": len(examples.pictures),
        "pictures": material.content or _sha256(_bytes(examples.pictures)),
        "captions": _sha256(json.dumps(list(examples.captions)).encode()),
        "labels": _sha256(b"" if labels is None else np.asarray(labels, dtype="<i8").tobytes()),
        "classes": list(material.classes),
        **({"origin": material.origin} if material.origin else {}),
    }


def _differences(record: RunRecord, system: System, data: dict[str, Any]) -> list[str]:
    then = record.data
    same = {name: then.get(name) == data[name] for name in data}
    found = []
    if record.system != system.name:
        found.append(f"system was {record.system} and is {system.name}")
    if not same["size_px"]:
        found.append(f"size was {then.get('size_px')} and is {data['size_px']}")
    if not (same["pictures"] and same["count"]):
        counts = "" if same["count"] else f" (they were {then.get('count')} and are {data['count']})"
        found.append(f"other pictures{counts}")
    if then.get("origin", "") != data.get("origin", ""):
        begins = [str(side or "from scratch") for side in (then.get("origin"), data.get("origin"))]
        found.append(f"it began from {begins[0]} and would begin from {begins[1]}")
    if not same["captions"]:
        found.append("other captions")
    if not (same["labels"] and same["classes"]):
        names = [", ".join(map(str, side[:5])) or "none" for side in (then.get("classes") or [], data["classes"])]
        found.append("other labels" + (f" (they were {names[0]} and are {names[1]})" if names[0] != names[1] else ""))
    return found


def _bytes(pictures: Any) -> bytes:
    array = np.ascontiguousarray(pictures)
    return f"{array.dtype} {array.shape[1:]} ".encode() + array.tobytes()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
