"""What the engine and the HTTP layer count, and the page that Prometheus reads.

recent' = recent + MEMORY * (value - recent)        an exponential moving average, for costs that change
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sumi.serving.job_handle import Status

__all__ = ["BATCH_SIZES", "EngineMeter", "EngineMetrics", "StageMetrics", "TrafficCounter", "format_metrics"]

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the histogram of batch sizes."""
MEMORY: Final = 0.3
"""Weight of the latest value in a moving average."""
Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True)
class StageMetrics:
    """The cost of one stage.

    Attributes:
        steps: batched denoising steps.
        rows: samples in those steps, all together.
        seconds: time that the steps took.
        sizes: number of steps by batch size, under the smallest bound of `BATCH_SIZES` that holds the batch.
        row_s: recent cost of one sample in one step, in seconds.
    """

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0
    sizes: Mapping[int, int] = field(default_factory=dict)
    row_s: float = 0.0

    def with_step(self, rows: int, seconds: float) -> StageMetrics:
        """Return the metrics after one more step of `rows` samples that took `seconds`."""
        size = next((size for size in BATCH_SIZES if rows <= size), BATCH_SIZES[-1])
        recent = seconds / rows if not self.steps else self.row_s + MEMORY * (seconds / rows - self.row_s)
        sizes = {**self.sizes, size: self.sizes.get(size, 0) + 1}
        return StageMetrics(self.steps + 1, self.rows + rows, self.seconds + seconds, sizes, recent)


@dataclass(frozen=True)
class EngineMetrics:
    """A snapshot of the engine.

    Attributes:
        waiting, running: requests in the queue and at work now.
        submitted, refused: requests since the start.
        ended: requests that have ended, by status.
        stages: metrics of each stage, by name.
        other_s: seconds between steps (reading prompts, decoding, ranking).
        preview_s: seconds spent on previews.
        request_s: recent seconds between two requests that succeeded.
    """

    waiting: int = 0
    running: int = 0
    submitted: int = 0
    refused: int = 0
    ended: Mapping[Status, int] = field(default_factory=dict)
    stages: Mapping[str, StageMetrics] = field(default_factory=dict)
    other_s: float = 0.0
    preview_s: float = 0.0
    request_s: float = 0.0


class EngineMeter:
    """Counts the engine's work; any thread may write to it and read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Counter[Status] = Counter()
        self._stages: dict[str, StageMetrics] = {}
        self._totals = EngineMetrics()
        self._last_success: float | None = None

    def count_submitted(self) -> None:
        """Count a request that entered the queue."""
        with self._lock:
            self._totals = replace(self._totals, submitted=self._totals.submitted + 1)

    def count_refused(self) -> None:
        """Count a request that a full queue refused."""
        with self._lock:
            self._totals = replace(self._totals, refused=self._totals.refused + 1)

    def add_other_time(self, seconds: float) -> None:
        """Add time spent between steps."""
        with self._lock:
            self._totals = replace(self._totals, other_s=self._totals.other_s + seconds)

    def add_preview_time(self, seconds: float) -> None:
        """Add time spent on previews."""
        with self._lock:
            self._totals = replace(self._totals, preview_s=self._totals.preview_s + seconds)

    def count_step(self, stage: str, rows: int, seconds: float) -> None:
        """Count a batched step of a stage."""
        with self._lock:
            self._stages[stage] = self._stages.get(stage, StageMetrics()).with_step(rows, seconds)

    def count_ended(self, status: Status, now: float) -> None:
        """Count the end of a request. now: `time.perf_counter()`."""
        with self._lock:
            self._ended[status] += 1
            if status == "succeeded":
                if self._last_success is not None:
                    interval, recent = now - self._last_success, self._totals.request_s
                    recent = recent + MEMORY * (interval - recent) if recent else interval
                    self._totals = replace(self._totals, request_s=recent)
                self._last_success = now

    def row_s(self, stage: str) -> float:
        """Return the expected cost of one sample of a stage, in seconds; 0 before its first step."""
        with self._lock:
            return self._stages.get(stage, StageMetrics()).row_s

    def read(self, waiting: int, running: int) -> EngineMetrics:
        """Return a snapshot, with the numbers of waiting and running requests filled in."""
        with self._lock:
            return replace(
                self._totals, waiting=waiting, running=running, ended=dict(self._ended), stages=dict(self._stages)
            )


class TrafficCounter:
    """Counts HTTP requests; used in the event loop.

    Attributes:
        active: requests being answered now.
        received: bytes of request bodies, by the id of the key.
        answered: requests by method, route and status.
        seconds: time that answers took, by method and route.
    """

    def __init__(self) -> None:
        self.active = 0
        self.received: Counter[str] = Counter()
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)


def format_metrics(engine: EngineMetrics, jobs: Mapping[str, int], traffic: TrafficCounter) -> str:
    """Return all metrics in Prometheus' text format.

    Args:
        engine: the engine's snapshot.
        jobs: number of stored jobs by status.
        traffic: the HTTP counters.
    """
    return "\n".join([*_engine(engine), *_jobs(jobs), *_http(traffic), *_process(), ""])


def _engine(engine: EngineMetrics) -> Iterator[str]:
    states = [({"state": "waiting"}, engine.waiting), ({"state": "running"}, engine.running)]
    yield from _metric("sumi_engine_requests", "gauge", "Requests in the engine now.", states)
    ended = [({"status": status}, count) for status, count in engine.ended.items()]
    yield from _metric("sumi_engine_ended_total", "counter", "Requests that have ended.", ended)
    stages = engine.stages.items()
    steps = [({"stage": name}, stage.steps) for name, stage in stages]
    yield from _metric("sumi_engine_steps_total", "counter", "Batched denoising steps.", steps)
    rows = [({"stage": name}, stage.rows) for name, stage in stages]
    yield from _metric("sumi_engine_rows_total", "counter", "Samples in those steps.", rows)
    seconds = [*(({"stage": name}, stage.seconds) for name, stage in stages), ({"stage": "other"}, engine.other_s)]
    yield from _metric("sumi_engine_seconds_total", "counter", "Seconds that the steps took.", seconds)


def _jobs(jobs: Mapping[str, int]) -> Iterator[str]:
    samples = [({"status": status}, count) for status, count in jobs.items()]
    yield from _metric("sumi_jobs", "gauge", "Jobs in the database, of all servers that share it.", samples)


def _http(traffic: TrafficCounter) -> Iterator[str]:
    yield from _metric("sumi_http_requests_inside", "gauge", "Requests being answered.", [({}, traffic.active)])
    answered = [
        ({"method": method, "route": route, "status": str(status)}, count)
        for (method, route, status), count in sorted(traffic.answered.items())
    ]
    yield from _metric("sumi_http_requests_total", "counter", "Requests answered.", answered)
    seconds = [
        ({"method": method, "route": route}, total) for (method, route), total in sorted(traffic.seconds.items())
    ]
    received = [({"key": key}, count) for key, count in sorted(traffic.received.items()) if key.startswith("key_")]
    yield from _metric("sumi_http_received_bytes_total", "counter", "Bytes of request bodies, by key.", received)
    yield from _metric("sumi_http_seconds_total", "counter", "Seconds that the answers took.", seconds)


def _process() -> Iterator[str]:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:  # macOS and Windows have no such file
        pass
    else:
        yield from _metric("process_resident_memory_bytes", "gauge", "Memory in use.", [({}, resident)])
    yield from _metric("process_cpu_seconds_total", "counter", "Seconds of all cores.", [({}, time.process_time())])


def _metric(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        yield f"{name}{{{pairs}}} {value:g}" if pairs else f"{name} {value:g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
