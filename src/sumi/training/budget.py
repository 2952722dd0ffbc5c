"""A budget of time for one run: how many steps fit is estimated after every step, so that the run ends in time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

RECENT = 64
"""The pace is that of so many latest steps, so that it follows a machine that grows busy or idle."""


class TimeBudget:
    """So many seconds of a clock, counted from now on. `reserve` is kept for what follows the last step."""

    def __init__(self, seconds: float, *, reserve: float = 0.0, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.reserve = reserve
        self._ends = clock() + seconds
        self._marks: deque[float] = deque([clock()], maxlen=RECENT + 1)

    @property
    def left(self) -> float:
        """Seconds until the budget is spent."""
        return self._ends - self.clock()

    def start(self) -> None:
        """Count the pace from now: what came before was preparation."""
        self._marks.clear()
        self._marks.append(self.clock())

    def revised(self, step: int) -> int:
        """Return how many steps the run has in all, now that `step` are done: as many as fit into what is left."""
        self._marks.append(self.clock())
        if len(self._marks) == 4:  # the first steps allocate and fill caches
            self._marks.popleft()
        pace = (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)
        left = self.left - self.reserve
        return step + (math.floor(left / max(pace, 1e-9)) if left > 0 else 0)

    def pause(self, seconds: float) -> None:
        """Leave so many seconds that were no steps out of the pace, and keep as many for the end of the run."""
        self.reserve = seconds
        marks = [mark + seconds for mark in self._marks]
        self._marks.clear()
        self._marks.extend(marks)
