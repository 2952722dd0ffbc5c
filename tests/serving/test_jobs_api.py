"""The routes of jobs and the gallery: ownership, events, and jobs that outlive their client and their server."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import live_server
import pytest
import torch
from live_server import PATIENCE_S, Live, file_of, opened
from PIL import Image
from same_picture import ROUNDING, apart
from server_process import wait
from sqlalchemy import select

from sumi import Sumi, SumiError
from sumi.serving import SchedulerLimits as EngineLimits
from sumi.store import FINAL, Folder, Job, Limits

JOB = {"kind": "generate", "prompt": "a red fox", "seed": 3, "size": 16}
LONG = JOB | {"n": 64, "steps": 1000}
Database = Callable[[], str | None]


@pytest.fixture(scope="module")
def live(tiny: Sumi, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("jobs"), database()) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def ended(http: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = http.get(f"/v1/jobs/{job_id}").json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.02)
    raise AssertionError("it did not end")


def begun(http: httpx.Client, job_id: str) -> None:
    """Wait until a job has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while http.get(f"/v1/jobs/{job_id}").json()["status"] == "queued":
        assert time.monotonic() < deadline, "it did not begin"
        time.sleep(0.01)


def events(reply: httpx.Response) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in reply.text.split("\n\n") if block and not block.startswith(":")]
    return [(block[0].removeprefix("event: "), json.loads(block[1].removeprefix("data: "))) for block in blocks]


def data_url(image: Image.Image) -> dict[str, str]:
    return {"image_url": "data:image/png;base64," + base64.b64encode(file_of(image)).decode()}


def test_job_is_acknowledged_drawn_and_fetched(http: httpx.Client, live: Live) -> None:
    reply = http.post("/v1/jobs", json=JOB | {"n": 2})
    assert reply.status_code == 202 and reply.json()["status"] == "queued"
    job = ended(http, reply.json()["id"])
    assert (job["status"], job["progress"], job["error"], job["attempts"]) == ("succeeded", 1.0, None, 1)
    expected = live.sumi.generate("a red fox", n=2, seed=3, size=16)
    for card, picture in zip(job["pictures"], expected, strict=True):
        file = http.get(f"/v1/gallery/{card['id']}/content")
        assert file.headers["content-type"] == "image/png" and apart(opened(file.content), picture.image) <= ROUNDING
        assert httpx.get(card["url"], trust_env=False).content == file.content
    assert http.get("/v1/jobs", params={"limit": 1}).json()["data"][0]["id"] == job["id"]
    assert http.get("/v1/jobs", params={"status": "failed"}).json()["data"] == []


def test_job_events_report_previews_and_the_end(http: httpx.Client) -> None:
    job = http.post("/v1/jobs", json=JOB | {"previews": 2, "size": 32, "steps": 40}).json()
    told = events(http.get(f"/v1/jobs/{job['id']}/events"))
    assert told[-1][0] == "done" and told[-1][1]["status"] == "succeeded" and len(told[-1][1]["pictures"]) == 1
    steps = [said for kind, said in told[:-1] if kind == "progress"]
    assert [said["progress"] for said in steps] == sorted(said["progress"] for said in steps)
    seen = [base64.b64decode(preview) for said in steps for preview in said["previews"]]
    assert seen and all(opened(png).format == "PNG" for png in seen)
    again = events(http.get(f"/v1/jobs/{job['id']}/events"))  # of one that is over, the end alone
    assert [kind for kind, _ in again] == ["done"]


def test_job_canceled_while_running_ends_canceled(http: httpx.Client) -> None:
    job = http.post("/v1/jobs", json=LONG).json()
    begun(http, job["id"])
    assert http.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    assert events(http.get(f"/v1/jobs/{job['id']}/events"))[0][1]["status"] == "canceled"
    assert http.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"


def test_job_of_every_kind_succeeds(http: httpx.Client, live: Live, leaf: Image.Image) -> None:
    image, other = data_url(leaf), data_url(leaf.rotate(90))
    mask = data_url(Image.new("RGBA", leaf.size, "white"))
    bodies: list[dict[str, Any]] = [
        {"kind": "vary", "images": [image], "eta": 1, "seed": 1},
        {"kind": "img2img", "images": [image], "prompt": "a dog", "strength": 0.5},
        {"kind": "edit", "images": [image], "mask": mask, "prompt": "a dog", "rounds": 1},
        {"kind": "edit", "images": [image], "expand": [4, 0, 4, 0], "rounds": 1},
        {"kind": "blend", "images": [image, other], "frames": 2, "steps": 2},
        {"kind": "restyle", "images": [image], "before": "a red fox", "after": "a blue fox", "steps": 2},
        {"kind": "explore", "images": [image], "dims": 2, "steps": 2},
        {"kind": "upscale", "images": [image]},
    ]
    asked = [http.post("/v1/jobs", json=body) for body in bodies]
    assert [reply.status_code for reply in asked] == [202] * len(bodies), [reply.text for reply in asked]
    jobs = [ended(http, reply.json()["id"]) for reply in asked]
    assert [(job["kind"], job["status"]) for job in jobs] == [(body["kind"], "succeeded") for body in bodies]
    varied = http.get(f"/v1/gallery/{jobs[0]['pictures'][0]['id']}/content").content
    assert apart(opened(varied), live.sumi.vary(leaf, seed=1).images[0]) <= ROUNDING
    again = http.post("/v1/jobs", json={"kind": "upscale", "images": [{"picture": jobs[0]["pictures"][0]["id"]}]})
    assert ended(http, again.json()["id"])["status"] == "succeeded"


def test_request_repeated_with_one_idempotency_key_is_one_job(http: httpx.Client) -> None:
    once = {"Idempotency-Key": "fox-1"}
    unseeded = {"kind": "generate", "prompt": "a fox", "size": 16}
    first = http.post("/v1/jobs", json=unseeded, headers=once).json()
    assert http.post("/v1/jobs", json=unseeded, headers=once).json()["id"] == first["id"]
    other = http.post("/v1/jobs", json=unseeded | {"n": 2}, headers=once)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_in_use")


def test_objects_of_another_key_are_404(http: httpx.Client, live: Live) -> None:
    job = ended(http, http.post("/v1/jobs", json=JOB).json()["id"])
    picture = job["pictures"][0]["id"]
    with live.client(live.key().token) as other:
        for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/events", f"/v1/gallery/{picture}"):
            assert other.get(path).status_code == 404
        assert other.get(f"/v1/gallery/{picture}/content").status_code == 404
        assert other.post(f"/v1/jobs/{job['id']}/cancel").status_code == 404
        assert other.delete(f"/v1/gallery/{picture}").status_code == 404
        assert other.get("/v1/jobs").json()["data"] == other.get("/v1/gallery").json()["data"] == []
        body = {"kind": "vary", "images": [{"picture": picture}]}
        assert other.post("/v1/jobs", json=body).status_code == 404
    assert http.get(f"/v1/gallery/{picture}").json()["recipe"]["seed"] == 3


def test_gallery_search_finds_by_words_and_meaning_and_not_deleted_ones(http: httpx.Client) -> None:
    for prompt in ("a blue car", "a blue dog"):
        ended(http, http.post("/v1/jobs", json=JOB | {"prompt": prompt}).json()["id"])
    found = http.get("/v1/gallery", params={"words": "BLUE dog"}).json()["data"]
    assert [card["prompt"] for card in found] == ["a blue dog"]
    near = http.get("/v1/gallery", params={"meaning": "a blue dog", "limit": 5}).json()["data"]
    assert len(near) == 5 and [card["nearness"] for card in near] == sorted(
        (card["nearness"] for card in near), reverse=True
    )
    page = http.get("/v1/gallery", params={"limit": 2}).json()
    assert page["has_more"] and len(page["data"]) == 2
    after = http.get("/v1/gallery", params={"limit": 2, "after": page["data"][-1]["id"]}).json()["data"]
    assert not {card["id"] for card in after} & {card["id"] for card in page["data"]}
    assert http.delete(f"/v1/gallery/{found[0]['id']}").json()["deleted"]
    assert http.get(f"/v1/gallery/{found[0]['id']}").status_code == 404


def test_jobs_over_the_concurrent_limit_are_429(live: Live) -> None:
    with live.client(live.key(limits=Limits(concurrent_jobs=1)).token) as http:
        job = http.post("/v1/jobs", json=LONG)
        assert job.status_code == 202
        refused = http.post("/v1/jobs", json=JOB)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        http.post(f"/v1/jobs/{job.json()['id']}/cancel")
        assert http.post("/v1/jobs", json=JOB).status_code == 202


def test_jobs_over_a_keys_share_of_the_queue_are_429(tiny: Sumi, database: Database, tmp_path: Path) -> None:
    busy = {"queued": 8, "limits": EngineLimits(running=1)}
    with live_server.serving(tiny, tmp_path, database(), **busy) as live, live.client() as admin:
        hold = JOB | {
            "n": 64,
            "steps": 1000,
            "priority": 5,
        }  # drawn for longer than this test may take, before all others
        first = admin.post("/v1/jobs", json=hold).json()["id"]
        begun(admin, first)
        kept = []
        for share in (4, 2, 1):  # of 8 places, of the 4 left, of the 2 left
            with live.client(live.key().token) as http:
                replies = [http.post("/v1/jobs", json=JOB) for _ in range(6)]
                assert [reply.status_code for reply in replies] == [202] * share + [429] * (6 - share)
                error = replies[-1].json()["error"]
                assert (error["type"], error["code"]) == ("rate_limit_error", "queue_share_exceeded")
                assert int(replies[-1].headers["retry-after"]) >= 1
                kept.append([reply.json()["id"] for reply in replies[:share]])
        admin.post(f"/v1/jobs/{first}/cancel")
        found = [[wait_for(live, job_id) for job_id in ids] for ids in kept]
        starts = [[job.started_at or 0 for job in jobs] for jobs in found]
        firsts, seconds = [key[0] for key in starts], [key[1] for key in starts if len(key) > 1]
        assert firsts == sorted(firsts) and max(firsts) < min(seconds), "each key's first job before any key's second"


def wait_for(live: Live, job_id: str) -> Job:
    """Return a job after its end, of any key."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with live.store.database.read() as session:
            job = session.scalar(select(Job).where(Job.id == job_id))
        if job is not None and job.status in FINAL:
            return job
        time.sleep(0.02)
    raise AssertionError("it did not end")


def test_job_whose_pictures_cannot_be_stored_is_a_server_error(
    http: httpx.Client, live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> bool:
        raise SumiError("the disk of the house is full")

    monkeypatch.setattr(live.store.jobs, "succeed", full)
    reply = http.post("/v1/images/generations", json={"prompt": "a fox", "size": "16x16"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "server_error")
    assert "house" not in reply.text and "the disk of the house is full" in caplog.text


def test_picture_without_an_embedding_is_stored(
    http: httpx.Client, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = live.process.config.app.state.shared.service  # type: ignore[union-attr]
    blind = replace(live.sumi.pipeline, see=lambda pictures: torch.full((len(pictures), 8), torch.nan))
    monkeypatch.setattr(service.embeddings, "sumi", replace(live.sumi, pipeline=blind))
    job = ended(http, http.post("/v1/jobs", json=JOB | {"seed": 78}).json()["id"])
    assert job["status"] == "succeeded" and len(job["pictures"]) == 1


def test_job_whose_input_file_is_lost_is_a_server_error(http: httpx.Client, live: Live) -> None:
    job = ended(http, http.post("/v1/jobs", json=JOB | {"seed": 77}).json()["id"])
    (card,) = job["pictures"]
    assert live.store.files.remove(live.store.gallery.get(job_key(live), card["id"]).digest, older_than_s=0)  # type: ignore[union-attr]
    lost = http.get(f"/v1/gallery/{card['id']}/content")
    assert lost.status_code == 503 and "/" not in lost.json()["error"]["message"]
    assert lost.headers["x-should-retry"] == "true" and int(lost.headers["retry-after"]) >= 1
    assert ended(http, job["id"])["pictures"][0]["id"] == card["id"], "it is drawn again under its id"
    assert httpx.get(card["url"], trust_env=False).content == http.get(f"/v1/gallery/{card['id']}/content").content


def test_damaged_picture_is_drawn_again_when_requested(http: httpx.Client, live: Live) -> None:
    job = ended(http, http.post("/v1/jobs", json=JOB | {"seed": 79}).json()["id"])
    (card,) = job["pictures"]
    before = http.get(f"/v1/gallery/{card['id']}/content").content
    row = live.store.gallery.find(card["id"])
    assert row is not None and isinstance(live.store.files, Folder)
    live.store.files.path(row.digest).write_bytes(b"?" * len(before))
    assert http.get(f"/v1/gallery/{card['id']}/content").status_code == 503
    ended(http, job["id"])
    after = http.get(f"/v1/gallery/{card['id']}/content").content
    one, other = (Image.open(io.BytesIO(data)) for data in (before, after))
    assert one.tobytes() == other.tobytes() and one.info["sumi"] == other.info["sumi"], "only its signature is another"


def test_deleted_picture_is_404_at_its_signed_url(http: httpx.Client, live: Live) -> None:
    prompt = "a secret fox"
    job = ended(http, http.post("/v1/jobs", json=JOB | {"prompt": prompt, "seed": 80}).json()["id"])
    (card,) = job["pictures"]
    assert httpx.get(card["url"], trust_env=False).status_code == 200
    assert http.delete(f"/v1/gallery/{card['id']}").json()["deleted"]
    assert httpx.get(card["url"], trust_env=False).status_code == 404
    kept = http.get(f"/v1/jobs/{job['id']}")
    assert kept.status_code == 200, kept.text
    assert kept.json()["pictures"] == [] and prompt not in kept.text
    assert prompt not in http.get("/v1/jobs", params={"limit": 100}).text


def job_key(live: Live) -> str:
    """The key of the test's own client."""
    key = live.store.keys.find(live.token)
    assert key is not None
    return key.id


def test_priority_above_0_needs_the_admin_scope(live: Live, http: httpx.Client) -> None:
    with live.client(live.key().token) as plain:
        assert plain.post("/v1/jobs", json=JOB | {"priority": 1}).status_code == 403
        assert plain.post("/v1/jobs", json=JOB | {"priority": -1}).status_code == 202
    assert http.post("/v1/jobs", json=JOB | {"priority": 5}).status_code == 202


def test_job_of_a_lost_client_is_canceled_unless_it_has_an_idempotency_key(live: Live, http: httpx.Client) -> None:
    body = {"prompt": "a dog wearing a hat", "size": "16x16", "steps": 1000, "n": 10}
    for headers, status in (({}, "canceled"), ({"Idempotency-Key": "kept"}, "running")):
        job = left(http, live, body, headers)
        wait(lambda job=job, status=status: http.get(f"/v1/jobs/{job}").json()["status"] == status)
    http.post(f"/v1/jobs/{job}/cancel")


def left(http: httpx.Client, live: Live, body: dict[str, Any], headers: dict[str, str]) -> str:
    """Request pictures and disconnect as soon as the job exists; return its id."""
    before = newest(http)
    request = http.build_request("POST", "/v1/images/generations", json=body, headers=headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", live.settings.port)) as gone:
        gone.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        wait(lambda: newest(http) != before)
    return newest(http)


def newest(http: httpx.Client) -> str:
    job_id: str = http.get("/v1/jobs").json()["data"][0]["id"]
    return job_id


def test_jobs_of_a_stopped_server_are_drawn_by_the_next(tiny: Sumi, database: Database, tmp_path: Path) -> None:
    url = database()
    with live_server.serving(tiny, tmp_path, url) as first, first.client() as http:
        drawn = http.post("/v1/jobs", json=JOB | {"steps": 60}).json()
        asked = [drawn, *(http.post("/v1/jobs", json=JOB | {"seed": seed}).json() for seed in range(3))]
        token = first.token
    with live_server.serving(tiny, tmp_path, url) as second, second.client(token) as http:
        told = events(http.get(f"/v1/jobs/{drawn['id']}/events"))
        assert told[-1][0] == "done" and told[-1][1]["status"] == "succeeded", "who follows it follows it to the end"
        ends = [ended(http, job["id"]) for job in asked]
        assert [(end["status"], end["attempts"]) for end in ends] == [("succeeded", 1)] * 4
        expected = tiny.generate("a red fox", seed=3, size=16, steps=60).images[0]
        assert (
            apart(opened(http.get(f"/v1/gallery/{ends[0]['pictures'][0]['id']}/content").content), expected) <= ROUNDING
        )
        assert second.store.integrity_check() == []


def test_note_names_what_was_drawn_and_an_unknown_prompt_is_refused(http: httpx.Client) -> None:
    asked = {"prompt": "a fluffy red foxx", "n": 1, "size": "16x16", "seed": 3, "steps": 1}
    answer = http.post("/v1/images/generations", json=asked)
    note = "drawn as: a red fox (fox for foxx). Not known: fluffy"
    assert answer.json()["note"] == answer.headers["x-sumi-note"] == note
    plain = http.post("/v1/images/generations", json=asked | {"prompt": "a red fox"})
    assert "note" not in plain.json() and "x-sumi-note" not in plain.headers
    assert http.get("/v1/gallery").json()["data"][1]["note"] == note
    job = http.post("/v1/jobs", json=JOB | {"prompt": "a red foxx", "steps": 1}).json()
    assert job["note"] == "drawn as: a red fox (fox for foxx)"
    for path, body in (("/v1/images/generations", {"size": "16x16"}), ("/v1/jobs", {"kind": "generate"})):
        refused = http.post(path, json=body | {"prompt": "zzyzx"})
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (400, "unknown_prompt", "prompt")
        assert error["suggestions"]
        anyway = http.post(path, json=body | {"prompt": "zzyzx", "anyway": True, "steps": 1, "n": 1})
        assert anyway.status_code in (200, 202)
