"""Two servers of one PostgreSQL: each follows, cancels and takes over the other's jobs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import postgresql
import pytest
from server_process import Server, assert_nothing_lost, ended, save_model, serving, wait, workers_at_work

from sumi.bundles import Bundle
from sumi.store import Store, open_store


@pytest.fixture(scope="module")
def place(tiny_bundle: Bundle, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An empty database, and an address for pictures."""
    folder = tmp_path_factory.mktemp("two-servers")
    model = save_model(tiny_bundle, folder / "model")
    url = postgresql.empty(postgresql_server)
    return {"model": str(model), "data": str(folder / "data"), "database": url, "pictures": f"file://{folder}/pictures"}


@pytest.fixture
def store(place: dict[str, str]) -> Iterator[Store]:
    with open_store(place["data"], place["database"], pictures=place["pictures"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def servers(place: dict[str, str]) -> Iterator[list[Server]]:
    model, data = Path(place["model"]), Path(place["data"])
    arguments = ("--database", place["database"], "--pictures", place["pictures"])
    with ExitStack() as stack:
        both = [serving(model, data, *arguments, log=model.parent / f"{name}.log") for name in ("one", "other")]
        started = [stack.enter_context(server) for server in both]
        for server in started:
            server.ready()
        yield started


def test_job_is_followed_and_canceled_at_another_server(servers: list[Server], store: Store) -> None:
    one, other = servers
    job_id = one.ask(n=4, steps=1000, previews=16)
    with other.client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        wait(lambda: workers_at_work(store))
        kinds, live_progress = [], []
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kinds.append(line[7:])
            elif line.startswith("data: "):
                live_progress.append(json.loads(line[6:]))
            if kinds[-1:] == ["progress"] and live_progress and live_progress[-1].get("previews"):
                break
    assert {"progress", "stage", "step", "of", "seeds", "previews"} == set(live_progress[-1])
    assert other.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceled"
    wait(lambda: not any(f'state="{state}"}} 1' in one.client.get("/metrics").text for state in ("running", "waiting")))
    assert store.jobs.pictures("local", job_id) == []


def test_signed_url_of_one_server_opens_at_another(servers: list[Server], store: Store) -> None:
    one, other = servers
    job_id = one.ask()
    ended(store, [job_id])
    url = one.client.get(f"/v1/jobs/{job_id}").json()["pictures"][0]["url"]
    path = url.removeprefix(str(one.client.base_url).rstrip("/"))
    assert other.client.get(path).content == one.client.get(path).content != b""


def test_jobs_of_a_killed_server_are_drawn_by_another(servers: list[Server], store: Store) -> None:
    jobs = [server.ask(n=2, steps=100 + number) for number in range(12) for server in servers]
    wait(lambda: len(workers_at_work(store)) == 2)
    servers[0].process.send_signal(signal.SIGKILL)
    assert_nothing_lost(store, jobs, pictures=2)
