"""A server that several keys share: fairness, the admin's view, and a database that is locked for a while."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import live_server
import pytest
from live_server import Live

import sumi.store.database
from sumi import Sumi
from sumi.serving import SchedulerLimits as EngineLimits
from sumi.store import UnavailableError

from .test_jobs_api import JOB, LONG, begun, ended


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


@pytest.mark.parametrize("scopes", [("draw", "read"), ("draw", "read", "admin")])
def test_hard_policy_category_is_refused_on_every_route(scopes: tuple[str, ...], live: Live) -> None:
    never, low = "a naked child", {"moderation": "low"}
    with live.client(live.key(*scopes).token) as http:
        asked = [
            http.post("/v1/jobs", json=JOB | low | {"prompt": never}),
            http.post("/v1/jobs", json=JOB | low | {"negative": never, "guidance": 0.0}),
            http.post("/v1/images/generations", json=low | {"prompt": never, "size": "16x16"}),
        ]
        assert [(reply.status_code, reply.json()["error"]["code"]) for reply in asked] == [
            (400, "moderation_blocked")
        ] * 3
        mild = JOB | {"prompt": "a naked fox"}
        assert http.post("/v1/jobs", json=mild).status_code == 400
        permitted = http.post("/v1/jobs", json=mild | low)
        assert permitted.status_code == 202, permitted.text


def test_admin_sees_and_cancels_the_jobs_of_all_keys(http: httpx.Client, live: Live) -> None:
    new = live.key()
    with live.client(new.token) as plain:
        job = plain.post("/v1/jobs", json=LONG).json()
        assert job["key"] == new.key.id
        assert plain.get("/v1/jobs", params={"whose": "all"}).status_code == 403
        assert job["id"] not in {row["id"] for row in http.get("/v1/jobs").json()["data"]}
        assert job["id"] in {row["id"] for row in http.get("/v1/jobs", params={"whose": "all"}).json()["data"]}
        assert http.get(f"/v1/jobs/{job['id']}").json()["id"] == job["id"]
        assert http.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
        assert plain.get(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"


def test_jobs_of_one_key_do_not_starve_another(tiny: Sumi, tmp_path: Path) -> None:
    """Endless jobs of one key take every place, and another key's job is drawn all the same."""
    busy = {"limits": EngineLimits(running=4)}
    with live_server.serving(tiny, tmp_path, **busy) as live, live.client() as admin:
        endless = JOB | {"n": 64, "steps": 1000}
        with live.client(live.key().token) as greedy, live.client(live.key().token) as modest:
            held = [greedy.post("/v1/jobs", json=endless | {"seed": seed}).json()["id"] for seed in range(6)]
            for job_id in held[:4]:
                begun(greedy, job_id)
            quick = modest.post("/v1/jobs", json=JOB | {"steps": 1}).json()
            assert ended(modest, quick["id"])["status"] == "succeeded"
            urgent = admin.post("/v1/jobs", json=JOB | {"steps": 1, "priority": 10}).json()
            assert ended(admin, urgent["id"])["status"] == "succeeded"
            states = [greedy.get(f"/v1/jobs/{job_id}").json()["status"] for job_id in held]
            assert states == ["running"] * 4 + ["queued"] * 2, "and none of its work was lost"
            for job_id in held:
                admin.post(f"/v1/jobs/{job_id}/cancel")


def test_locked_database_is_503_with_retry_after(tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sumi.store.database, "BUSY_TIMEOUT_S", 0.2)
    with live_server.serving(tiny, tmp_path) as live, live.client() as http:
        lock = sqlite3.connect(tmp_path / "sumi.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        refused = http.post("/v1/jobs", json=JOB)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "true")
        assert int(refused.headers["retry-after"]) >= 1
        lock.execute("COMMIT")
        lock.close()
        assert ended(http, http.post("/v1/jobs", json=JOB).json()["id"])["status"] == "succeeded"


def test_picture_drawn_while_the_database_is_locked_is_stored_later(
    http: httpx.Client, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed, calls = live.store.jobs.succeed, []

    def locked_at_first(*arguments: Any) -> bool:
        calls.append(1)
        if len(calls) < 3:
            raise UnavailableError("locked")
        return succeed(*arguments)

    monkeypatch.setattr(live.store.jobs, "succeed", locked_at_first)
    job = ended(http, http.post("/v1/jobs", json=JOB | {"seed": 81}).json()["id"])
    assert (job["status"], job["attempts"], len(calls)) == ("succeeded", 1, 3)
