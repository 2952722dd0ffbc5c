"""The conclusions of `benchmarks/overload.py`."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

WELL = [(200, 2.0, 0)] * 90 + [(202, 0.1, 1)] * 10 + [(429, 0.01, 0)] * 900


@pytest.fixture
def overload(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield pytest.importorskip("overload")
    for name in ("overload", "served"):
        sys.modules.pop(name, None)


def memory(slope: float, noise: float = 3.0, minutes: int = 10) -> list[tuple[float, float, int]]:
    """A sample each second of a server that grows so many MB a minute."""
    rng = random.Random(1)
    return [(second, 500 + slope * second / 60 + rng.gauss(0, noise), 40) for second in range(60 * minutes)]


@pytest.mark.parametrize("slope", [0.0, 0.5, 5.0])
def test_the_slope_of_memory_is_found_within_its_interval(overload: Any, slope: float) -> None:
    found, give = overload.growth([(at, mb) for at, mb, _ in memory(slope)])
    assert abs(found - slope) <= give < 0.3


def test_memory_of_the_first_fifth_and_after_the_last_request_does_not_count(overload: Any) -> None:
    warming = [(second, 400 + second, 40) for second in range(120)]
    working = [(second, 540.0, 40) for second in range(120, 600)]
    resting = [(second, 540 - (second - 600) / 2, 40) for second in range(600, 900)]
    report = overload.judged(overload.Seen(answers=WELL, samples=warming + working + resting), 2.0, 10, 10, (0, 1.0))
    assert report["memory, MB a minute, 95% interval"] == [0.0, 0.0] and report["faults"] == []
    assert report["memory, mean of each minute, MB"][:3] == [429.5, 489.5, 540.0]


def test_what_is_as_it_must_be_has_no_fault(overload: Any) -> None:
    seen = overload.Seen(answers=WELL, samples=memory(0.5))
    report = overload.judged(seen, 2.0, 10, 10, (0, 1.0))
    assert report["faults"] == [] and report["answers by status"] == {"200": 90, "202": 10, "429": 900}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"answers": [*WELL, (500, 1.0, 0)]}, "answers were"),
        ({"answers": [*WELL, *[(200, 49.0, 0)] * 9]}, "an accepted request took 49.0 s"),
        ({"answers": [*WELL, *[(429, 3.0, 0)] * 90]}, "a refusal took 3.00 s"),
        ({"without_retry_after": 1}, "1 refusals came without Retry-After"),
        ({"unanswered": {"ReadError": 2}}, "2 requests were not answered"),
        ({"samples": memory(5.0)}, "memory grows by "),
    ],
)
def test_whatever_is_wrong_is_named(overload: Any, wrong: dict[str, Any], said: str) -> None:
    seen = overload.Seen(**{"answers": WELL, "samples": memory(0.0), **wrong})
    (fault,) = overload.judged(seen, 2.0, 10, 10, (0, 1.0))["faults"]
    assert fault.startswith(said)
    assert overload.judged(overload.Seen(answers=WELL, samples=memory(0.0)), 2.0, 10, 10, (1, 1.0))["faults"] == [
        "it left with status 1"
    ]
