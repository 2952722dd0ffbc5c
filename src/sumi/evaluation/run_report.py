"""The report on a training run: what was planned, how it went, what it learned from, and whether it copies.

The numbers are those of the run's own files (`sumi.systems.run_folder`); only the drawings are made for the report.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.bundles.json_file import read_json
from sumi.errors import SumiError
from sumi.evaluation.run_copies import Progress, RunCopies, measure_run_copies
from sumi.systems.run_folder import RunFolder, StageRun

__all__ = ["RunReport", "StageCurve", "curves_of", "make_run_report", "reasons_of"]

MOST_POINTS = 240
"""Of a curve; more reports than this are averaged."""
NO_SCALARS = {"step", "seconds", "processor_s", "precision", "fault", "skipped"}
FIRST = ("loss", "lr", "images_per_s")
PICTURE_NAME = re.compile(r"^(cannot read the picture )?.*?\.(?:png|jpe?g|webp|gif|bmp|tiff?|heic|avif)\b", re.I)


@dataclass(frozen=True)
class StageCurve:
    """One column of a stage's reports over its steps.

    Attributes:
        name: of the column: loss, lr, images_per_s, or a scalar of the objective.
        points: (step, value), averaged to at most 240.
        guide: a value to compare it with, such as ln(batch) for CLIP's loss; None where there is none.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    guide: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = [value for _, value in self.points]
        ends = {"first": values[0], "last": values[-1], "least": min(values), "most": max(values)}
        return {
            **{name: float(f"{value:.6g}") for name, value in ends.items()},
            "guide": self.guide,
            "points": [[step, float(f"{value:.6g}")] for step, value in self.points],
        }


@dataclass(frozen=True)
class RunReport:
    """Everything that the page shows.

    Attributes:
        run: the run.
        curves: of each stage, by its name.
        reasons: why pictures were not used, with how many and an example of each.
        rights: a row for each licence and source of what the model learned from.
        rights_note: what stands in the model card about pictures without a licence; "" where nothing.
        copies: the drawings beside the nearest training pictures; None where none were made.
        no_copies: why there are none; "" otherwise.
    """

    run: RunFolder
    curves: Mapping[str, tuple[StageCurve, ...]]
    reasons: tuple[tuple[str, int, str], ...]
    rights: tuple[Mapping[str, Any], ...]
    rights_note: str
    copies: RunCopies | None
    no_copies: str

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        run = self.run
        return {
            "run": str(run.folder),
            "kind": run.kind,
            "finished": run.is_finished,
            "model": None if run.model is None else str(run.model),
            "settings": dict(run.settings),
            "stages": {stage.name: self.stage_json(stage) for stage in run.stages},
            "waiting": [name for name in run.planned if name not in {stage.name for stage in run.stages}],
            "data": dict(run.data) | {"reasons": [list(reason) for reason in self.reasons]} if run.data else None,
            "rights": [dict(row) for row in self.rights],
            "rights_note": self.rights_note,
            "copies": self.no_copies if self.copies is None else self.copies.to_json(),
        }

    def stage_json(self, stage: StageRun) -> dict[str, Any]:
        """Return the numbers of one stage."""
        config = stage.config
        return {
            "step": stage.step,
            "num_steps": stage.num_steps,
            "finished": stage.is_finished,
            "batch_size": None if config is None else config.batch_size,
            "peak_lr": None if config is None else config.lr,
            "precision": precision_of(stage),
            "seconds": seconds_of(stage),
            "skipped": int(stage.last("skipped") or stage.notes.get("skipped", 0)),
            "planned": dict(self.run.planned.get(stage.name, {})) or None,
            "curves": {curve.name: curve.to_json() for curve in self.curves[stage.name]},
            "pictures": [str(path) for path in stage.pictures],
        }


def make_run_report(run: RunFolder, n: int, progress: Progress = lambda what, done, of: None) -> RunReport:
    """Collect a report.

    Args:
        run: the run.
        n: how many pictures the finished model draws, to be compared with those that taught it; 0 for none.
        progress: called with (what, done, of).

    Raises:
        SumiError: when a file of the run is damaged.
    """
    copies, no_copies = None, "none were asked for"
    if n:
        try:
            copies, no_copies = measure_run_copies(run, n, progress), ""
        except SumiError as error:
            no_copies = str(error)
    return RunReport(
        run,
        {stage.name: curves_of(stage) for stage in run.stages},
        reasons_of([*run.data.get("broken", []), *run.data.get("left_out", [])]),
        tuple(rights_of(run)),
        str(run.data.get("rights_note", "")),
        copies,
        no_copies,
    )


def curves_of(stage: StageRun) -> tuple[StageCurve, ...]:
    """Return the curves of a stage: loss, learning rate and images a second, then what else its objective reports."""
    columns = dict.fromkeys([*FIRST, *(name for row in stage.rows for name in row if name not in NO_SCALARS)])
    found = []
    for name in columns:
        points = average(stage.column(name), MOST_POINTS)
        if points:
            found.append(StageCurve(name, points, guide_of(stage) if name == "loss" else None))
    return tuple(found)


def guide_of(stage: StageRun) -> float | None:
    """Return ln(batch), the loss of a CLIP that guesses; None for another stage."""
    if stage.name != "clip" or stage.config is None or stage.last("named") is not None:
        return None
    return math.log(stage.config.batch_size)


def average(points: Sequence[tuple[int, float]], most: int) -> tuple[tuple[float, float], ...]:
    """Return points, neighbours averaged where there are more than `most`."""
    each = max(1, math.ceil(len(points) / most))
    groups = [points[start : start + each] for start in range(0, len(points), each)]
    return tuple(
        (statistics.fmean(step for step, _ in group), statistics.fmean(value for _, value in group)) for group in groups
    )


def reasons_of(lines: Sequence[str]) -> tuple[tuple[str, int, str], ...]:
    """Return why pictures were not used: the reason without names, how many there are, and the first line of them."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for line in lines:
        reason = PICTURE_NAME.sub(r"\1…", line)
        counts[reason] += 1
        examples.setdefault(reason, line)
    return tuple((reason, count, examples[reason]) for reason, count in counts.most_common())


def rights_of(run: RunFolder) -> list[Mapping[str, Any]]:
    """Return whose pictures the model learned from: of the finished model, or as the run wrote it down."""
    path = None if run.model is None else run.model / "rights.json"
    if path is not None and path.is_file():
        rows = read_json(path)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [row for row in run.data.get("rights", []) if isinstance(row, dict)]


def precision_of(stage: StageRun) -> str | None:
    """Return the precision that a stage computes in."""
    known = stage.last("precision")
    return str(known) if known else None if stage.config is None else stage.config.precision


def seconds_of(stage: StageRun) -> float:
    """Return the seconds of training of a stage so far, preparation and sheets not counted."""
    return float(stage.last("seconds") or stage.notes.get("seconds", 0.0))
