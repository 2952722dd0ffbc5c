"""Training: one loop for every stage, which may be killed at any moment and goes on exactly.

    for report in train(lesson, plan, folder): ...      # or run(lesson, plan, folder), with a bar and files

Exactly means to the byte, in fp32 on a CPU, on one machine with one number of threads: other kernels round
otherwise.
"""

from __future__ import annotations

from sumi.training.batches import indices, step_rng
from sumi.training.checkpoint import load_ema, read_plan
from sumi.training.lesson import Batch, Lesson
from sumi.training.loop import Report, train
from sumi.training.plan import Plan
from sumi.training.run import measure_rate, plan_for, run

__all__ = [
    "Batch",
    "Lesson",
    "Plan",
    "Report",
    "indices",
    "load_ema",
    "measure_rate",
    "plan_for",
    "read_plan",
    "run",
    "step_rng",
    "train",
]
