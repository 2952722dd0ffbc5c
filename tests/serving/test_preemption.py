"""Preemption between two steps, by another key or a higher priority, loses no progress."""

from __future__ import annotations

import pytest
from same_picture import apart

from sumi.pipelines import Request
from sumi.serving import SchedulerLimits
from sumi.systems.unclip.artist import Sumi

from .conftest import SchedulerHarness, images
from .test_scheduler import SMALL, alone


@pytest.mark.parametrize("running", [1, 2, 64])
def test_short_request_overtakes_long_ones_of_another_key(running: int, tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=running, step_s=1e9))
    wishes = [Request("a fox", seed=seed, steps=30, guidance=1.0, **SMALL) for seed in range(3)]
    long = [harness.submit(wish, key="greedy") for wish in wishes]
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 3)
    wish = Request("a dog", seed=9, steps=1, **SMALL)
    short = harness.submit(wish, key="modest")
    assert harness.run(until=lambda: short.ended) < 15, "its own steps, and hardly any other"
    assert short.status == "succeeded" and not any(handle.ended for handle in long)
    harness.run()
    for drawn, expected in zip([short, *long], [wish, *wishes], strict=True):
        assert apart(images(drawn)[0], alone(tiny, expected)[0]) <= 1, "a pause changes nothing"


def test_higher_priority_preempts_running_requests_until_done(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=2, rows=2, step_s=1e9))
    for seed in range(4):
        harness.submit(Request("a fox", seed=seed, steps=25, guidance=1.0, **SMALL), key="greedy")
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 3)
    urgent = [harness.submit(Request("a dog", seed=seed, steps=7, guidance=1.0, **SMALL), key="greedy", priority=10)
              for seed in range(2)]  # fmt: skip
    steps_before = len(harness.batch_rows["decoder"])
    harness.run(until=lambda: all(handle.ended for handle in urgent))
    assert len(harness.batch_rows["decoder"]) - steps_before <= 8, (
        "the seven that they shared, and that which was being taken"
    )


def test_scheduler_shares_by_pixel_steps_not_requests(tiny: Sumi) -> None:
    """One key requests pictures of four times the pixels, and gets a quarter of the steps."""
    harness = SchedulerHarness(tiny, SchedulerLimits(rows=1, step_s=1e9))
    harness.scheduler._pixels = {"decoder": 1, "upsampler": 4}
    for seed in range(12):
        harness.submit(Request("a fox", seed=seed, guidance=1.0, steps=1, **SMALL), key="small")
        harness.submit(Request("a fox", seed=seed, guidance=1.0, steps=1, size=32), key="large")
    used = {"small": 0.0, "large": 0.0}
    harness.run(until=lambda: used.update(harness.scheduler._usage) or min(used.values()) > 25)  # type: ignore[func-returns-value]
    assert abs(used["small"] - used["large"]) <= 4, "never further apart than one step"


def test_scheduler_starts_no_more_requests_than_fit_in_memory(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=1, paused=2, step_s=1e9))
    handles = [harness.submit(Request("a fox", seed=key, steps=6, **SMALL), key=str(key)) for key in range(6)]
    most = 0

    def over() -> bool:
        nonlocal most
        most = max(most, harness.scheduler.running)
        return False

    harness.run(until=over)
    assert most == 3 and all(handle.status == "succeeded" for handle in handles)


def test_request_that_runs_alone_pauses_others_until_released(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny)
    other = harness.submit(Request("a fox", seed=1, steps=50, guidance=1.0, **SMALL), key="other")
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 3)
    suspect = harness.submit(Request("a dog", seed=2, steps=30, guidance=1.0, **SMALL), key="suspect")
    suspect.alone = True
    harness.submit(Request("a dog", seed=3, steps=5, guidance=1.0, **SMALL), key="urgent", priority=5)
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 13)
    assert harness.batch_rows["decoder"][3:] == [1] * 10 and not other.ended
    suspect.alone = False
    harness.run()
    assert 3 in harness.batch_rows["decoder"] or 2 in harness.batch_rows["decoder"], "and then they share again"
    assert other.status == suspect.status == "succeeded"
