"""Which jobs a server draws at one time, and which of them give way.

Where every place is taken, a job of a higher priority is claimed all the same, and so is one of a key with less than
its share; the engine pauses what they preempt. Paused jobs keep what they have drawn, in memory; where that is full,
the one that is last in order and least advanced goes back to the store.
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
from sumi.store import Beyond, Job

__all__ = ["Drawing", "beyond", "probation_s", "surplus"]

PROBATION_S: Final = 5.0
"""How long a suspect of one crash runs alone before others may join it; for each further suspicion twice as long."""


@dataclass(eq=False)
class Drawing:
    """A job that is ours to draw."""

    claim: Job
    ticket: JobHandle | None = None
    progress: float = 0.0
    dropped: bool = False
    preempted: bool = False  # to be given back to the store, since others go first and memory is bounded
    alone_until: float = math.inf  # on the loop's clock
    untold: JobProgress | None = (
        None  # what other servers should hear of at the next beat: a preview before anything newer
    )

    def drop(self) -> None:
        """Stop drawing it."""
        self.dropped = True
        if self.ticket is not None:
            self.ticket.cancel()

    def moved(self, report: StepDone, stages: Sequence[str]) -> JobProgress:
        """Note a step, and return what is told of it. stages: the names of all of them, in order."""
        if report.stage in stages:
            done = (stages.index(report.stage) + report.step / report.of) / len(stages)
            self.progress = max(self.progress, min(done, 0.999))
        moved = JobProgress(self.progress, report)
        if report.levels is not None or self.untold is None or self.untold.report.levels is None:
            self.untold = moved
        return moved


def beyond(drawings: Collection[Drawing], waiting: Mapping[str, int], running: int) -> Beyond | None:
    """Return which jobs may be claimed although every place is taken; None where there is one.

    waiting: how many jobs of each key are queued. running: how many places there are.
    """
    if len(drawings) < running:
        return None
    held = Counter(drawing.claim.key_id for drawing in drawings)
    keys = held.keys() | {key for key, count in waiting.items() if count > 0}
    share = max(1, running // len(keys))
    lowest = min(drawing.claim.priority for drawing in drawings)
    return Beyond(lowest, [key for key, count in held.items() if count >= share])


def surplus(drawings: Collection[Drawing], limits: SchedulerLimits) -> Drawing | None:
    """Return the job to give back where one more is more than memory is for; None where it is not."""
    staying = [drawing for drawing in drawings if not drawing.dropped]
    if len(staying) < limits.running + limits.paused:
        return None
    held = Counter(drawing.claim.key_id for drawing in staying)
    return max(staying, key=lambda one: (-one.claim.priority, held[one.claim.key_id], -one.progress))


def probation_s(suspect: Job) -> float:
    """Return for how long a suspect must run alone: to its end, once a process has died while it did."""
    return math.inf if suspect.failures else PROBATION_S * 2 ** (suspect.suspicions - 1)
