"""Training: one loop for every stage, which may be killed at any moment and goes on exactly.

    for report in train(lesson, plan, folder): ...      # or run(lesson, plan, folder), with a bar and files

Exactly means to the byte, in fp32 on a CPU, on one machine with one number of threads: other kernels round
otherwise.
"""

from __future__ import annotations

from sumi.training.batches import indices, step_rng
from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import load_ema, read_plan
from sumi.training.config import TrainConfig
from sumi.training.loop import Report, train
from sumi.training.objective import Batch, Objective
from sumi.training.run import finished, run, time_budget, trained_seconds

__all__ = [
    "Batch",
    "Objective",
    "Report",
    "TimeBudget",
    "TrainConfig",
    "finished",
    "indices",
    "load_ema",
    "read_plan",
    "run",
    "step_rng",
    "time_budget",
    "train",
    "trained_seconds",
]
