"""A time budget of a run: the number of steps that fit is estimated after every step, so that the run ends in time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

RECENT = 64
"""The pace is averaged over this many of the latest steps, so that it follows the load of the machine."""


class TimeBudget:
    """A number of seconds, counted from when it is made.

    Args:
        seconds: the budget.
        reserve: seconds kept for what follows the last step.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, seconds: float, *, reserve: float = 0.0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.reserve = reserve
        self._ends = clock() + seconds
        self._marks: deque[float] = deque([clock()], maxlen=RECENT + 1)

    @property
    def left(self) -> float:
        """Seconds until the budget is spent; negative afterwards."""
        return self._ends - self.clock()

    def start(self) -> None:
        """Start to measure the pace; time before this was preparation."""
        self._marks.clear()
        self._marks.append(self.clock())

    def estimate_num_steps(self, step: int) -> int:
        """Estimate the total number of steps of the run after `step` of them: those done and those that still fit."""
        self._marks.append(self.clock())
        if len(self._marks) == 4:  # the first steps allocate and fill caches
            self._marks.popleft()
        pace = (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)
        left = self.left - self.reserve
        return step + (math.floor(left / max(pace, 1e-9)) if left > 0 else 0)

    def pause(self, seconds: float) -> None:
        """Exclude seconds that were not spent on steps from the pace, and reserve as many for the end of the run."""
        self.reserve = seconds
        marks = [mark + seconds for mark in self._marks]
        self._marks.clear()
        self._marks.extend(marks)
