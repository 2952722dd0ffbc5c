"""Shutdown: the server accepts nothing new, finishes what it can, and gives back the rest."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import live_server
import pytest
from live_server import PATIENCE_S
from server_process import save_model, wait
from server_process import serving as process

from sumi import Sumi
from sumi.bundles import Bundle
from sumi.serving import SchedulerLimits
from sumi.serving.service import Service
from sumi.store import Job, Store, open_store

JOB = {"kind": "generate", "prompt": "a red fox", "seed": 3, "size": 16}
ASKED = {"prompt": "a red fox", "size": "16x16"}
ONE = {"limits": SchedulerLimits(running=1)}


@pytest.fixture(scope="module")
def model(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tiny_bundle, tmp_path_factory.mktemp("farewell") / "model")


def kept(store: Store) -> list[Job]:
    """The jobs of whoever has some, the oldest first."""
    return [job for key in store.keys.all() for job in store.jobs.page(key.id).items[::-1]]


def test_shutdown_finishes_active_jobs_and_leaves_waiting_ones(
    tiny: Sumi, database: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database()
    with live_server.serving(tiny, tmp_path, url, drain_timeout_s=60, **ONE) as live, live.client() as http:
        gate, put = threading.Event(), live.store.files.put
        monkeypatch.setattr(live.store.files, "put", lambda data: gate.wait(PATIENCE_S) and put(data))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(http.post, "/v1/images/generations", json=ASKED)
            wait(lambda: [job.status for job in kept(live.store)] == ["running"])
            assert http.post("/v1/jobs", json=JOB).status_code == 202
            live.process.handle_exit(signal.SIGTERM, None)
            wait(lambda: http.get("/ready").status_code == 503)
            assert http.get("/health").status_code == http.get("/v1/jobs").status_code == 200
            refused = http.post("/v1/jobs", json=JOB)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert refused.headers["x-should-retry"] == "true" and int(refused.headers["retry-after"]) >= 1
            gate.set()
            assert answer.result(PATIENCE_S).status_code == 200
    with open_store(tmp_path, url) as store:
        assert [(job.status, job.attempts) for job in kept(store)] == [("succeeded", 1), ("queued", 0)]


def test_shutdown_gives_back_slow_jobs_and_answers_clients(
    tiny: Sumi, database: Callable[[], str | None], tmp_path: Path
) -> None:
    url, long, once = database(), ASKED | {"n": 10, "steps": 1000}, {"Idempotency-Key": "a name"}
    with (
        live_server.serving(tiny, tmp_path, url, drain_timeout_s=0, **ONE) as live,
        live.client() as http,
        ThreadPoolExecutor(2) as pool,
    ):
        comes_back = pool.submit(http.post, "/v1/images/generations", json=long, headers=once)
        wait(lambda: [job.status for job in kept(live.store)] == ["running"])
        does_not = pool.submit(http.post, "/v1/images/generations", json=ASKED)
        wait(lambda: len(kept(live.store)) == 2)
        live.process.handle_exit(signal.SIGINT, None)
        for answer in (comes_back, does_not):
            assert answer.result(PATIENCE_S).status_code == 503
            assert answer.result().headers["x-should-retry"] == "true"
    with open_store(tmp_path, url) as store:
        assert [(job.status, job.attempts) for job in kept(store)] == [("queued", 0), ("canceled", 0)]


@pytest.mark.parametrize("turns", range(4))
def test_background_loop_woken_while_cancelled_ends(tiny: Sumi, tmp_path: Path, turns: int) -> None:
    async def ends(service: Service) -> bool:
        loop = asyncio.create_task(service._repeat(service._claim_all, 60))
        for _ in range(5):
            await asyncio.sleep(0)
        service._wake.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        loop.cancel()
        ended, _ = await asyncio.wait({loop}, timeout=60)
        return bool(ended)

    with open_store(tmp_path) as store:
        service = Service(tiny, store, SchedulerLimits(), 1)
        assert asyncio.run(ends(service))
        service.engine.close()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_process_on_sigterm_exits_0_and_the_next_continues(sent: signal.Signals, model: Path, tmp_path: Path) -> None:
    with process(model, tmp_path, "--running", "1", log=tmp_path / "first.log") as server:
        server.ready()
        jobs = [server.ask(seed=seed, steps=100) for seed in range(10)]  # more than it draws before it hears the signal
        server.process.send_signal(sent)
        assert server.process.wait(PATIENCE_S) == 0
    assert "stopping" in (tmp_path / "first.log").read_text()
    with open_store(tmp_path) as store:
        assert store.jobs.counts()["running"] == 0 and store.jobs.counts()["queued"] > 0
    with process(model, tmp_path, log=tmp_path / "second.log") as server:
        server.ready()
        wait(lambda: all(server.client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded" for job in jobs))
        assert {server.client.get(f"/v1/jobs/{job}").json()["attempts"] for job in jobs} == {1}


def test_process_on_a_second_signal_exits_at_once_and_loses_nothing(model: Path, tmp_path: Path) -> None:
    with process(model, tmp_path, "--running", "1", log=tmp_path / "log") as server:
        server.ready()
        job = server.ask(steps=1000, n=64)
        wait(lambda: server.client.get(f"/v1/jobs/{job}").json()["status"] == "running")
        server.process.send_signal(signal.SIGTERM)
        wait(lambda: server.client.get("/ready").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM
    with open_store(tmp_path) as store:
        store.reconcile()
        assert [found.status for found in store.jobs.page("local").items] == ["queued"]
        assert store.integrity_check() == []
