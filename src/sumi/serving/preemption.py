"""Which jobs a server draws at one time, and which of them give way.

Where every place is taken, the server still claims a job of a higher priority, or of a key that holds less than its
share, and the engine pauses the jobs that they preempt. A paused job keeps its progress in memory. Where that memory is
full, the job that is last in order and least advanced goes back to the store.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sumi.serving.job_events import JobProgress
from sumi.serving.job_handle import JobHandle, StepDone
from sumi.serving.scheduler import SchedulerLimits
from sumi.store import Job, PreemptionFilter

__all__ = ["ActiveJob", "choose_eviction", "compute_probation_s", "make_preemption_filter"]

PROBATION_S: Final = 5.0
"""How long a job suspected of one crash runs alone before others join it; doubled for each further suspicion."""


@dataclass(eq=False)
class ActiveJob:
    """A job that this server draws.

    Attributes:
        claim: the job's row, as claimed.
        handle: the engine's handle, once the job is submitted.
        progress: share of the whole, in [0, 1].
        is_dropped: the server stops drawing it.
        is_evicted: it goes back to the store to make room.
        alone_until: until when it runs alone, on the loop's clock.
        unsent: the progress to send with the next heartbeat; a preview takes precedence over later steps without one.
    """

    claim: Job
    handle: JobHandle | None = None
    progress: float = 0.0
    is_dropped: bool = False
    is_evicted: bool = False
    alone_until: float = math.inf
    unsent: JobProgress | None = None

    def drop(self) -> None:
        """Stop drawing it."""
        self.is_dropped = True
        if self.handle is not None:
            self.handle.cancel()

    def record_step(self, report: StepDone, stages: Sequence[str]) -> JobProgress:
        """Note a step and return its event. stages: the names of all stages, in order."""
        if report.stage in stages:
            done = (stages.index(report.stage) + report.step / report.of) / len(stages)
            self.progress = max(self.progress, min(done, 0.999))
        progress = JobProgress(self.progress, report)
        if report.levels is not None or self.unsent is None or self.unsent.report.levels is None:
            self.unsent = progress
        return progress


def make_preemption_filter(
    active_jobs: Collection[ActiveJob], waiting: Mapping[str, int], running: int
) -> PreemptionFilter | None:
    """Return which jobs may be claimed although every place is taken.

    Args:
        active_jobs: the jobs that this server draws.
        waiting: number of queued jobs by key.
        running: number of places.

    Returns:
        The filter, or None where a place is free and any job may be claimed.
    """
    if len(active_jobs) < running:
        return None
    held = Counter(active.claim.key_id for active in active_jobs)
    keys = held.keys() | {key for key, count in waiting.items() if count > 0}
    share = max(1, running // len(keys))
    lowest = min(active.claim.priority for active in active_jobs)
    return PreemptionFilter(lowest, [key for key, count in held.items() if count >= share])


def choose_eviction(active_jobs: Collection[ActiveJob], limits: SchedulerLimits) -> ActiveJob | None:
    """Return the job to give back to the store where memory has no room for one more; else None."""
    kept = [active for active in active_jobs if not active.is_dropped]
    if len(kept) < limits.running + limits.paused:
        return None
    held = Counter(active.claim.key_id for active in kept)
    return max(kept, key=lambda one: (-one.claim.priority, held[one.claim.key_id], -one.progress))


def compute_probation_s(suspect: Job) -> float:
    """Return how long a suspect runs alone: to its end, once a process has died while it ran alone."""
    return math.inf if suspect.failures else PROBATION_S * 2 ** (suspect.suspicions - 1)
