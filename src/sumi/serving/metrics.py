"""Figures for whoever watches the server, in the text format of Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping

from sumi.serving.engine_metrics import EngineMetrics
from sumi.serving.middleware import TrafficCounter

__all__ = ["exposition"]

Sample = tuple[Mapping[str, str], float]


def exposition(engine: EngineMetrics, jobs: Mapping[str, int], traffic: TrafficCounter) -> str:
    """The whole page."""
    return "\n".join([*_engine(engine), *_jobs(jobs), *_http(traffic), *_process(), ""])


def _engine(engine: EngineMetrics) -> Iterator[str]:
    states = [({"state": "waiting"}, engine.waiting), ({"state": "running"}, engine.running)]
    yield from _metric("sumi_engine_requests", "gauge", "Requests in the engine now.", states)
    ended = [({"status": status}, count) for status, count in engine.ended.items()]
    yield from _metric("sumi_engine_ended_total", "counter", "Requests that have ended.", ended)
    stages = engine.stages.items()
    steps = [({"stage": name}, stage.steps) for name, stage in stages]
    yield from _metric("sumi_engine_steps_total", "counter", "Steps taken, of all samples together.", steps)
    rows = [({"stage": name}, stage.rows) for name, stage in stages]
    yield from _metric("sumi_engine_rows_total", "counter", "Samples in those steps.", rows)
    seconds = [*(({"stage": name}, stage.seconds) for name, stage in stages), ({"stage": "other"}, engine.other_s)]
    yield from _metric("sumi_engine_seconds_total", "counter", "Seconds that they took.", seconds)


def _jobs(jobs: Mapping[str, int]) -> Iterator[str]:
    samples = [({"status": status}, count) for status, count in jobs.items()]
    yield from _metric("sumi_jobs", "gauge", "Jobs that are kept, of all servers of this database.", samples)


def _http(traffic: TrafficCounter) -> Iterator[str]:
    yield from _metric("sumi_http_requests_inside", "gauge", "Requests being answered.", [({}, traffic.inside)])
    answered = [
        ({"method": method, "route": route, "status": str(status)}, count)
        for (method, route, status), count in sorted(traffic.answered.items())
    ]
    yield from _metric("sumi_http_requests_total", "counter", "Requests answered.", answered)
    seconds = [
        ({"method": method, "route": route}, total) for (method, route), total in sorted(traffic.seconds.items())
    ]
    received = [({"key": key}, count) for key, count in sorted(traffic.received.items()) if key.startswith("key_")]
    yield from _metric("sumi_http_received_bytes_total", "counter", "Bytes of bodies that keys sent.", received)
    yield from _metric("sumi_http_seconds_total", "counter", "Seconds that they took.", seconds)


def _process() -> Iterator[str]:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:  # macOS and Windows have no such file
        pass
    else:
        yield from _metric("process_resident_memory_bytes", "gauge", "Memory in use.", [({}, resident)])
    yield from _metric("process_cpu_seconds_total", "counter", "Seconds of all cores.", [({}, time.process_time())])


def _metric(name: str, kind: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{said}}} {value:g}" if said else f"{name} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
