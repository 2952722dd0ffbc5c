"""The engine in its own thread: its reports, its bounded queue, and its end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from same_picture import ROUNDING, apart

from sumi import SumiError
from sumi.pipelines import Picture, Request
from sumi.serving import (
    Engine,
    FinishedPicture,
    JobHandle,
    JobStarted,
    OverloadError,
    SchedulerLimits,
    StepDone,
    StoppedError,
)
from sumi.serving.job_handle import MAX_UNREAD
from sumi.systems.unclip.artist import Sumi

from .conftest import CALM, images

WISH = Request("a red fox", seed=3, size=16)
ENDLESS = Request("a fox", seed=1, size=16, n=8, steps=1000)


@pytest.fixture
def engine(tiny: Sumi) -> Iterator[Engine]:
    with Engine(tiny, CALM) as engine:
        yield engine


def test_engine_draws_the_same_pictures_as_the_model(engine: Engine, tiny: Sumi) -> None:
    handles = [engine.submit(WISH) for _ in range(3)]
    expected = tiny.generate(WISH.prompt, seed=3, size=16).images[0]
    assert all(apart(image, expected) <= ROUNDING for handle in handles for image in images(handle))
    figures = engine.metrics()
    assert (figures.submitted, figures.ended) == (3, {"succeeded": 3}) and figures.waiting == figures.running == 0


def test_engine_takes_requests_of_many_threads(engine: Engine) -> None:
    drawn: list[int] = []

    def ask(seed: int) -> None:
        drawn.extend(len(images(engine.submit(Request("a fox", seed=seed, n=2, size=16), key=str(seed)))) for _ in "ab")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [2] * 8


def test_handle_in_an_event_loop_does_not_block_it(engine: Engine) -> None:
    async def listen(handle: JobHandle) -> list[object]:
        return [report async for report in handle]

    async def main() -> list[list[object]]:
        ticks = 0

        async def clock() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(clock())
        heard = await asyncio.gather(*(listen(engine.submit(Request("a fox", seed=seed))) for seed in range(3)))
        ticking.cancel()
        assert ticks > 3, "the loop went on meanwhile"
        return heard

    for reports in asyncio.run(main()):
        assert [type(report) for report in reports] == [JobStarted] + [StepDone] * 9 + [FinishedPicture]


def test_submit_of_an_impossible_task_fails_at_once(engine: Engine) -> None:
    with pytest.raises(SumiError, match="unknown size"):
        engine.submit(Request("a fox", size=77))
    assert engine.metrics().submitted == 0


def test_handle_of_a_failed_request_raises_its_error(engine: Engine) -> None:
    def refuse(picture: Picture) -> bytes:
        raise OSError("disk full")

    async def listen(handle: JobHandle) -> None:
        async for _ in handle:
            pass

    handle = engine.submit(WISH, encode=refuse)
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(listen(handle))
    assert handle.status == "failed" and images(engine.submit(WISH))


def test_submit_to_a_full_queue_raises_overload(tiny: Sumi) -> None:
    with Engine(tiny, SchedulerLimits(running=1, waiting=2)) as engine:
        first = engine.submit(ENDLESS)
        next(iter(first))
        handles = [engine.submit(WISH) for _ in range(2)]
        with pytest.raises(OverloadError, match="2 requests are waiting; try again in about 1 s") as refusal:
            engine.submit(WISH)
        assert refusal.value.retry_after_s == 1 and engine.metrics().refused == 1
        first.cancel()
        assert all(images(handle) for handle in handles), "those taken are drawn"
        assert first.status == "canceled"


def test_close_ends_unfinished_requests_as_stopped(tiny: Sumi) -> None:
    engine = Engine(tiny, SchedulerLimits(running=1))
    handles = [engine.submit(ENDLESS), engine.submit(WISH)]
    next(iter(handles[0]))
    engine.close()
    for handle in handles:
        with pytest.raises(StoppedError, match="before the request was done"):
            list(handle)
        assert handle.status == "stopped"
    with pytest.raises(StoppedError, match="closed"):
        engine.submit(WISH)
    assert not engine.alive


def test_engine_encodes_files_beside_the_steps_of_others(engine: Engine) -> None:
    gate = threading.Event()
    slow = engine.submit(WISH, encode=lambda picture: b"late" if gate.wait(300) else b"never")
    endless = engine.submit(ENDLESS)
    steps = (report for report in endless if isinstance(report, StepDone))
    while engine.metrics().running > 1:  # until the first has drawn, and its file alone is missing
        time.sleep(0.01)
    assert next(steps) and not slow.ended
    gate.set()
    endless.cancel()
    assert [report.data for report in slow if isinstance(report, FinishedPicture)] == [b"late"]


def test_handle_without_a_reader_drops_steps_and_keeps_pictures(tiny: Sumi) -> None:
    handle = JobHandle()
    picture = tiny.generate("a fox", seed=1, size=16)[0]
    handle.post(FinishedPicture(picture, b""))
    for step in range(10 * MAX_UNREAD):
        handle.post(StepDone("decoder", step, 10 * MAX_UNREAD, (1,)))
    handle.end("succeeded")
    reports = list(handle)
    assert len(reports) == MAX_UNREAD and isinstance(reports[0], FinishedPicture)
    assert isinstance(last := reports[-1], StepDone) and last.step == 10 * MAX_UNREAD - 1


def test_handle_keeps_its_first_end() -> None:
    handle = JobHandle()
    assert handle.end("canceled") and not handle.end("succeeded")
    handle.post(JobStarted())
    assert handle.status == "canceled" and list(handle) == []
