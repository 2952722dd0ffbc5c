"""The conclusions of `benchmarks/memory.py`."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield pytest.importorskip("memory")
    for name in ("memory", "served"):
        sys.modules.pop(name, None)


def samples(slope: float) -> list[tuple[int, float]]:
    rng = random.Random(1)
    return [(number, 500 + slope * number / 10_000 + rng.gauss(0, 0.5)) for number in range(0, 50_000, 500)]


@pytest.mark.parametrize(("slope", "fault"), [(0.0, False), (5.0, True)])
def test_memory_benchmark_flags_growth_and_not_noise(memory: Any, slope: float, fault: bool) -> None:
    report = memory.judged(samples(slope), Counter({400: 9, 401: 1}), 1.0)
    low, high = report["memory, MB for 10,000 requests, 95% interval"]
    assert abs((low + high) / 2 - slope) < 0.5 and high - low < 1
    assert report["fault"] is fault


@pytest.mark.parametrize("status", [200, 500])
def test_memory_benchmark_flags_an_answer_that_is_no_refusal(memory: Any, status: int) -> None:
    assert memory.judged(samples(0.0), Counter({400: 9, status: 1}), 1.0)["fault"]


def test_memory_benchmark_sends_requests_of_the_declared_length(memory: Any) -> None:
    for request in memory.wrong_requests("127.0.0.1:80", "sk-sumi-x"):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
