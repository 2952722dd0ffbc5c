"""What a training will cost, measured before it starts, and what it did cost, compared at the end.

    steps(stage) = (time left - fixed costs) · share(stage) / seconds of a step

The seconds of a step come from a rehearsal (`sumi.systems.rehearsal`), which takes real steps with real batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sumi.data.disk import size_in_words
from sumi.hardware import peak_memory
from sumi.systems.rehearsal import Cost, disk_bytes
from sumi.training import TrainConfig, read_config

__all__ = ["StagePlan", "TrainingPlan", "format_table", "make_plan", "time_in_words"]

BYTES = 4


@dataclass(frozen=True)
class StagePlan:
    """What one stage will take.

    fixed_s: seconds for its preparation and its sheet of samples. step_s: for a step. share: of the time for steps,
    which all stages have together. count: of pictures.
    """

    stage: str
    parameters: int
    num_steps: int
    batch_size: int
    fixed_s: float
    step_s: float
    share: float
    count: int

    @property
    def seconds(self) -> float:
        """Of the whole stage."""
        return self.fixed_s + self.num_steps * self.step_s

    @property
    def passes(self) -> float:
        """How often each picture is seen."""
        return self.num_steps * self.batch_size / max(1, self.count)


@dataclass(frozen=True)
class TrainingPlan:
    """What a training will take.

    memory_bytes: of this process at its peak, as measured; None where the system does not say. disk_bytes: of
    checkpoints and bundle. precision: of its networks' arithmetic.
    """

    stages: tuple[StagePlan, ...]
    memory_bytes: int | None
    disk_bytes: int
    precision: str

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def stage(self, name: str) -> StagePlan:
        """Return the plan of one stage."""
        return next(stage for stage in self.stages if stage.stage == name)

    def seconds_for(self, name: str, num_steps: int) -> float:
        """Return the seconds that all stages need together, where one of them is to have so many steps."""
        plan = self.stage(name)
        return sum(stage.fixed_s for stage in self.stages) + num_steps * plan.step_s / plan.share

    def lines(self) -> list[str]:
        """Return a table for people."""
        rows = [
            (
                plan.stage,
                f"{plan.parameters / 1e6:.2f} M",
                f"{plan.num_steps:,} x {plan.batch_size}",
                f"{plan.passes:,.0f}",
                time_in_words(plan.seconds),
            )
            for plan in self.stages
        ]
        memory = "" if self.memory_bytes is None else f"{size_in_words(self.memory_bytes)} of memory, "
        total = (
            f"{time_in_words(self.seconds)} in all, {memory}{size_in_words(self.disk_bytes)} of disk, {self.precision}"
        )
        return [*format_table(("stage", "parameters", "steps x batch", "passes", "time"), rows), total]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "stages": {
                plan.stage: {
                    "parameters": plan.parameters,
                    "num_steps": plan.num_steps,
                    "batch_size": plan.batch_size,
                    "seconds": round(plan.seconds, 1),
                    "passes": round(plan.passes, 1),
                }
                for plan in self.stages
            },
            "seconds": round(self.seconds, 1),
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
            "precision": self.precision,
        }


def make_plan(
    costs: Mapping[str, Cost],
    steps: Mapping[str, int],
    shares: Mapping[str, float],
    plans: Mapping[str, TrainConfig],
    count: int,
    precision: str,
) -> TrainingPlan:
    """Return the plan of stages that cost so much and take so many steps, on `count` pictures.

    shares: of the time, by stage.
    """
    whole = sum(shares[stage] for stage in costs)
    stages = tuple(
        StagePlan(
            stage,
            cost.weight_bytes // BYTES,
            steps[stage],
            plans[stage].batch_size,
            cost.prepare_s + cost.draw_s,
            cost.step_s,
            shares[stage] / whole,
            count,
        )
        for stage, cost in costs.items()
    )
    return TrainingPlan(stages, peak_memory(), disk_bytes(costs), precision)


def compare(planned: Mapping[str, Mapping[str, float]], took: Mapping[str, float], folder: Path) -> list[str]:
    """Return lines that put what each stage took beside what was planned.

    Args:
        planned: seconds and num_steps by stage, as in `to_json`.
        took: seconds by stage.
        folder: of the run.
    """
    rows = []
    for stage, plan in planned.items():
        if stage in took:
            config = read_config(folder / stage)
            steps = 0 if config is None else config.num_steps
            rows.append(
                (
                    stage,
                    f"{plan['num_steps']:,.0f}",
                    f"{steps:,}",
                    time_in_words(plan["seconds"]),
                    time_in_words(took[stage]),
                    f"{took[stage] / plan['seconds'] - 1:+.0%}" if plan["seconds"] >= 1 else "",
                )
            )
    return (
        format_table(("stage", "steps planned", "taken", "time planned", "taken", "difference"), rows) if rows else []
    )


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows under a head, in columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def time_in_words(seconds: float) -> str:
    """Return seconds as "41 s", "12.5 min" or "3.2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
