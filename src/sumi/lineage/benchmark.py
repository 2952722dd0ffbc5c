"""The lineage side by side: what is measured of a system's pictures, and what is kept of how it learned.

    quality      KID to held-out true pictures (`sumi.evaluation.kid`)
    asked        the judge's first guess, among everything it knows, is the thing that was asked for
    known        it is one of the things taught at all: what may be measured where nothing can be asked
    nearest      the median distance of a picture to the nearest one that was trained on, pixel by pixel, 0 to 1

True pictures of drawings that no system saw are marked the same way: they are the ceiling. Marked against another's
thing they say what luck scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.evaluation.exam import resize_for_judge
from sumi.evaluation.intervals import Share
from sumi.evaluation.kid import FeatureExtractor, kid
from sumi.explain.nearest_drawings import all_distances
from sumi.judge.network import Judge, judge_pictures

__all__ = ["LineageBenchmark", "load_finished", "loss_curve", "over_seeds", "sample_strip"]

COLUMNS, ROWS, SCALE, GAP_PX = 8, 2, 3, 2
MOST_POINTS = 120


@dataclass(frozen=True)
class LineageBenchmark:
    """What every system is measured on.

    truth: pictures of held-out drawings, uint8 (M, 4, S, S). things: what is taught. taught: the pictures that systems
    learn from, uint8 (N, 4, S, S).
    """

    eye: FeatureExtractor
    judge: Judge
    truth: Tensor
    things: tuple[str, ...]
    taught: Tensor | None = None

    @cached_property
    def seen(self) -> Tensor:
        """Features of the truth."""
        return self.eye.features(self.truth)

    def marks(self, pictures: Tensor, asked: Sequence[int] = ()) -> dict[str, Any]:
        """Figures of pictures, uint8 (N, 4, S, S); asked: the number of the thing wanted in each, if one was."""
        first = judge_pictures(self.judge, resize_for_judge(pictures)).best(1)[:, 0].tolist()
        guesses = [self.judge.names[number] for number in first]
        right = [guess == self.things[thing] for guess, thing in zip(guesses, asked, strict=True)] if asked else None
        return {
            "quality": kid(self.eye.features(pictures), self.seen).to_json(),
            "asked": None if right is None else Share.of(right).to_json(),
            "known": Share.of(guess in self.things for guess in guesses).to_json(),
            "nearest": None if self.taught is None else round(nearest_taught(pictures, self.taught), 4),
        }


def nearest_taught(pictures: Tensor, taught: Tensor) -> float:
    """Return the median distance of pictures, uint8 (N, 4, S, S), to the nearest of those taught (M, 4, S, S)."""
    parts = [all_distances(some, taught).amin(dim=1) for some in torch.split(pictures, 64)]
    return float(torch.cat(parts).median())


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what several trainings of one system say together: the mean of each figure, and its least and most."""
    found = {
        "kid": [run["quality"]["kid"] for run in runs],
        "asked": [run["asked"]["share"] for run in runs if run["asked"] is not None],
        "known": [run["known"]["share"] for run in runs],
        "nearest": [run["nearest"] for run in runs if run.get("nearest") is not None],
    }
    return {"count": len(runs)} | {
        name: {"mean": round(sum(values) / len(values), 4), "least": min(values), "most": max(values)}
        for name, values in found.items()
        if values
    }


def loss_curve(folder: Path) -> list[tuple[float, float]]:
    """Seconds of the processor, and losses, of a stage, from its diary; thinned to what can be seen."""
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in lines]
    points = [(row["processor_s"], row["loss"]) for row in rows if isinstance(row.get("loss"), int | float)]
    stride = math.ceil(len(points) / MOST_POINTS) or 1
    return points[::stride]


def sample_strip(pictures: Tensor) -> Tensor:
    """The first pictures, uint8 (N, 4, S, S), in two rows of eight, each pixel enlarged: one picture (4, H, W)."""
    some = pictures[: COLUMNS * ROWS]
    size, each = some.shape[-1], COLUMNS * ROWS
    large = some.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
    cell = size * SCALE + GAP_PX
    cells = torch.zeros(each, 4, cell, cell, dtype=torch.uint8)
    cells[: len(large), :, : size * SCALE, : size * SCALE] = large
    rows = [torch.cat(list(row), dim=2) for row in torch.split(cells, COLUMNS)]
    return torch.cat(rows, dim=1)[:, :-GAP_PX, :-GAP_PX]


def load_finished(folder: Path) -> Mapping[str, Any] | None:
    """The figures of a system that is done, or None."""
    try:
        figures = json.loads((folder / "figures.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return figures if isinstance(figures, dict) else None
