"""Plain numbers about the engine's work, for whoever watches it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sumi.serving.job_handle import Status

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the classes in which batches are counted."""
MEMORY = 0.3
"""How much the latest step weighs in what a row is expected to cost."""


@dataclass(frozen=True)
class StageFigures:
    """What one stage has cost. sizes: steps by the least of `SIZES` that holds their rows. row_s: a row, of late."""

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    sizes: Mapping[int, int] = field(default_factory=dict)
    row_s: float = 0.0

    def and_also(self, rows: int, seconds: float) -> StageFigures:
        """Return the figures with one more step of so many rows."""
        size = next((size for size in SIZES if rows <= size), SIZES[-1])
        late = seconds / rows if not self.steps else self.row_s + MEMORY * (seconds / rows - self.row_s)
        sizes = {**self.sizes, size: self.sizes.get(size, 0) + 1}
        return StageFigures(self.steps + 1, self.rows + rows, self.seconds + seconds, sizes, late)


@dataclass(frozen=True)
class EngineMetrics:
    """How the engine stands and what it has done since it started.

    waiting, running: requests now. submitted, refused: requests ever. ended: by status. stages: by name; other_s:
    seconds between steps (reading, decoding, ranking). look_s: seconds for previews. request_s: seconds between two
    requests done, of late.
    """

    waiting: int = 0
    running: int = 0
    submitted: int = 0
    refused: int = 0
    ended: Mapping[Status, int] = field(default_factory=dict)
    stages: Mapping[str, StageFigures] = field(default_factory=dict)
    other_s: float = 0.0
    look_s: float = 0.0
    request_s: float = 0.0


class EngineMeter:
    """Where the engine notes what it did; any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Counter[Status] = Counter()
        self._stages: dict[str, StageFigures] = {}
        self._sums = EngineMetrics()
        self._last: float | None = None

    def count(self, **more: float) -> None:
        """Add to figures of `Metrics`, by name."""
        with self._lock:
            self._sums = replace(self._sums, **{name: getattr(self._sums, name) + more[name] for name in more})

    def step(self, stage: str, rows: int, seconds: float) -> None:
        """Note a step."""
        with self._lock:
            self._stages[stage] = self._stages.get(stage, StageFigures()).and_also(rows, seconds)

    def end(self, status: Status, now: float) -> None:
        """Note the end of a request."""
        with self._lock:
            self._ended[status] += 1
            if status == "succeeded":
                if self._last is not None:
                    late = self._sums.request_s
                    between = now - self._last
                    self._sums = replace(self._sums, request_s=late + MEMORY * (between - late) if late else between)
                self._last = now

    def row_s(self, stage: str) -> float:
        """Seconds that a row of this stage is expected to cost; 0 where nothing is known."""
        with self._lock:
            return self._stages.get(stage, StageFigures()).row_s

    def read(self, waiting: int, running: int) -> EngineMetrics:
        """Return the figures, with how many wait and run now."""
        with self._lock:
            return replace(
                self._sums, waiting=waiting, running=running, ended=dict(self._ended), stages=dict(self._stages)
            )
