"""Training: one loop for every stage, which may be killed at any moment and resumes exactly.

    for report in train(objective, config, folder): ...      # or run(objective, config, folder), with a bar and files

Exactly means to the byte, in fp32 on a CPU, on one machine with one number of threads: other kernels round differently.
"""

from __future__ import annotations

from sumi.training.batches import batch_indices, stable_seed, step_rng
from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import load_ema, read_config
from sumi.training.config import TrainConfig
from sumi.training.distributed import Processes, join_processes, processes
from sumi.training.loop import UNKNOWN_NUM_STEPS, Report, train
from sumi.training.objective import Batch, Objective
from sumi.training.run import is_finished, run, time_budget, train_stage, trained_seconds
from sumi.training.sample_sheet import write_sample_sheet
from sumi.training.trainer import Trainer

__all__ = [
    "UNKNOWN_NUM_STEPS",
    "Batch",
    "Objective",
    "Processes",
    "Report",
    "TimeBudget",
    "TrainConfig",
    "Trainer",
    "batch_indices",
    "is_finished",
    "join_processes",
    "load_ema",
    "processes",
    "read_config",
    "run",
    "stable_seed",
    "step_rng",
    "time_budget",
    "train",
    "train_stage",
    "trained_seconds",
    "write_sample_sheet",
]
