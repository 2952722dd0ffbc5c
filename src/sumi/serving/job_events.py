"""The events of a job for its followers: steps, and the end.

    JobProgress <-> {"progress", "stage", "step", "of", "seeds", "levels": base64(deflate(bytes)), "shape"}

Steps travel through the database as JSON, so a follower at one server sees a job that another server draws.
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

__all__ = ["JobEnded", "JobEvent", "JobProgress"]


@dataclass(frozen=True)
class JobProgress:
    """One step is done.

    Attributes:
        progress: share of the whole job, in [0, 1].
        report: the engine's report of the step.
    """

    progress: float
    report: StepDone

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        report = self.report
        values = {"stage": report.stage, "step": report.step, "of": report.of, "seeds": list(report.seeds)}
        if report.levels is not None:
            levels = report.levels.numpy(force=True)
            values |= {"levels": base64.b64encode(zlib.compress(levels.tobytes(), 1)).decode(), "shape": levels.shape}
        return {"progress": self.progress} | values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the event that `to_json` wrote."""
        levels = None
        if "levels" in values:
            flat = np.frombuffer(zlib.decompress(base64.b64decode(values["levels"])), np.uint8)
            levels = torch.from_numpy(flat.reshape(values["shape"]).copy())
        report = StepDone(values["stage"], values["step"], values["of"], tuple(values["seeds"]), levels)
        return cls(values["progress"], report)


@dataclass(frozen=True)
class JobEnded:
    """The job has ended."""

    job: Job


JobEvent = JobProgress | JobEnded
