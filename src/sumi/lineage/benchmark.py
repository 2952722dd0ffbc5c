"""The benchmark of the lineage: the metrics of a system's pictures, and the record of its training.

    quality      KID to held-out true pictures (`sumi.evaluation.kid`)
    asked        the share of pictures whose most likely concept is the one that was asked for
    known        the share whose most likely concept was taught; for systems without a condition
    nearest      the median RMSE between a picture and the nearest training picture, 0 to 1

True pictures of drawings that no system saw are measured in the same way: they are the ceiling. Graded against the
thing of another picture they give the level of chance.
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
    """The data and networks that measure every system.

    Args:
        feature_extractor: of KID.
        judge: recognizes things.
        truth: pictures of held-out drawings, uint8 (M, 4, S, S).
        things: the taught concepts, in the order of their labels.
        taught: the training pictures, uint8 (N, 4, S, S).
    """

    feature_extractor: FeatureExtractor
    judge: Judge
    truth: Tensor
    things: tuple[str, ...]
    taught: Tensor | None = None

    @cached_property
    def true_features(self) -> Tensor:
        """The features of the true pictures."""
        return self.feature_extractor.features(self.truth)

    def measure(self, pictures: Tensor, asked: Sequence[int] = ()) -> dict[str, Any]:
        """Return the metrics of pictures as JSON values.

        Args:
            pictures: uint8 (N, 4, S, S).
            asked: the label that each picture was asked for, or nothing for a system without a condition.
        """
        first = judge_pictures(self.judge, resize_for_judge(pictures)).best(1)[:, 0].tolist()
        guesses = [self.judge.names[number] for number in first]
        right = [guess == self.things[thing] for guess, thing in zip(guesses, asked, strict=True)] if asked else None
        return {
            "quality": kid(self.feature_extractor.features(pictures), self.true_features).to_json(),
            "asked": None if right is None else Share.of(right).to_json(),
            "known": Share.of(guess in self.things for guess in guesses).to_json(),
            "nearest": None if self.taught is None else round(nearest_taught(pictures, self.taught), 4),
        }


def nearest_taught(pictures: Tensor, taught: Tensor) -> float:
    """Return the median RMSE between pictures, uint8 (N, 4, S, S), and the nearest training pictures (M, 4, S, S)."""
    parts = [all_distances(some, taught).amin(dim=1) for some in torch.split(pictures, 64)]
    return float(torch.cat(parts).median())


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean, the least and the most of each metric over several trainings of one system."""
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
    """Return (processor seconds, loss) of a stage from its metrics log, at most about 120 points."""
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = [json.loads(line) for line in lines]
    points = [(row["processor_s"], row["loss"]) for row in rows if isinstance(row.get("loss"), int | float)]
    stride = math.ceil(len(points) / MOST_POINTS) or 1
    return points[::stride]


def sample_strip(pictures: Tensor) -> Tensor:
    """Return the first 16 pictures, uint8 (N, 4, S, S), enlarged, in two rows: one picture (4, H, W)."""
    some = pictures[: COLUMNS * ROWS]
    size, each = some.shape[-1], COLUMNS * ROWS
    large = some.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
    cell = size * SCALE + GAP_PX
    cells = torch.zeros(each, 4, cell, cell, dtype=torch.uint8)
    cells[: len(large), :, : size * SCALE, : size * SCALE] = large
    rows = [torch.cat(list(row), dim=2) for row in torch.split(cells, COLUMNS)]
    return torch.cat(rows, dim=1)[:, :-GAP_PX, :-GAP_PX]


def load_finished(folder: Path) -> Mapping[str, Any] | None:
    """Return the metrics of a finished system, or None."""
    try:
        figures = json.loads((folder / "figures.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return figures if isinstance(figures, dict) else None
