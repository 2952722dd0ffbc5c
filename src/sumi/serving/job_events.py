"""What whoever follows a job hears: the steps, and the end.

    Moved <-> {"progress", "stage", "step", "of", "seeds", "levels": base64(deflate(bytes)), "shape"}

As JSON values a step goes through the database, so that it is heard of wherever the job is drawn.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from sumi.serving.job_handle import StepDone
from sumi.store import Job

__all__ = ["JobEnded", "JobProgress", "News"]


@dataclass(frozen=True)
class JobProgress:
    """A step was done: how much of the whole, in [0, 1], and what the engine said of it."""

    progress: float
    report: StepDone

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        report = self.report
        said = {"stage": report.stage, "step": report.step, "of": report.of, "seeds": list(report.seeds)}
        if report.levels is not None:
            levels = report.levels.numpy(force=True)
            said |= {"levels": base64.b64encode(zlib.compress(levels.tobytes(), 1)).decode(), "shape": levels.shape}
        return {"progress": self.progress} | said

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return what `to_json` was called on."""
        levels = None
        if "levels" in said:
            seen = np.frombuffer(zlib.decompress(base64.b64decode(said["levels"])), np.uint8)
            levels = torch.from_numpy(seen.reshape(said["shape"]).copy())
        report = StepDone(said["stage"], said["step"], said["of"], tuple(said["seeds"]), levels)
        return cls(said["progress"], report)


@dataclass(frozen=True)
class JobEnded:
    """The job has ended, and how."""

    job: Job


News = JobProgress | JobEnded
