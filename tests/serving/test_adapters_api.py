"""Adapters over HTTP: a thing is taught from pictures that a client sends, drawn with, and removed."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from live_server import PATIENCE_S, serving
from PIL import Image, ImageDraw

from sumi.bundles import open_adapter
from sumi.serving import teaching_runs
from sumi.systems.unclip.artist import Sumi


def file_of(number: int) -> bytes:
    page = Image.new("RGBA", (32, 32))
    ImageDraw.Draw(page).ellipse((4, 4, 28, 20 + number), fill=(200, 30, 90, 255))
    data = io.BytesIO()
    page.save(data, "WEBP", lossless=True)
    return data.getvalue()


FILES = [file_of(number) for number in range(2)]
IMAGES = [{"image_url": f"data:image/webp;base64,{base64.b64encode(data).decode()}"} for data in FILES]


@pytest.fixture
def http(tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("SUMI_ADAPTERS", str(tmp_path / "adapters"))
    with serving(tiny, tmp_path / "data") as live, live.client() as client:
        yield client


LEARNER = """
import json, pathlib, sys, time
sheet = pathlib.Path(sys.argv[2]) / "sheet.png"
sheet.write_bytes(b"a sheet")
print(json.dumps({"event": "preparing", "what": "reading pictures", "done": 1, "of": 2}), flush=True)
line = {"event": "training", "step": 7, "num_steps": 9, "loss": 0.5, "eta_s": 1.5, "picture": str(sheet)}
print(json.dumps(line), flush=True)
time.sleep(600)
"""


def wait_until(http: httpx.Client, name: str, met: Callable[[dict[str, object]], bool]) -> dict[str, object]:
    deadline = time.monotonic() + PATIENCE_S
    while not met(card := dict(http.get(f"/v1/adapters/{name}").json())):
        assert card["status"] == "learning" and time.monotonic() < deadline, card
        time.sleep(0.1)
    return card


def test_pictures_that_are_sent_become_an_adapter_to_draw_with(
    http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching_runs, "NICENESS", 0)
    assert http.get("/v1/adapters").json()["data"] == []
    begun = http.post("/v1/adapters", json={"concept": "my wug", "images": IMAGES, "minutes": 0.1})
    assert begun.status_code == 202 and begun.json()["name"] == "wug" and begun.json()["status"] == "learning"
    twice = http.post("/v1/adapters", json={"concept": "my zed", "images": IMAGES})
    assert twice.status_code == 409 and "teaching wug" in twice.json()["error"]["message"]
    card = wait_until(http, "wug", lambda card: card["status"] == "ready")
    record = open_adapter("wug", tmp_path / "adapters").record
    assert list(record.pictures) == [hashlib.sha256(data).hexdigest() for data in FILES]
    while (tmp_path / "adapters" / "wug.pictures").exists():
        time.sleep(0.05)  # deleted as soon as the process has ended
    assert (card["word"], card["pictures"], card["usable"]) == ("wug", 2, True)
    drawn = http.post("/v1/images/generations", json={"prompt": "a wug", "adapters": "wug:0.5", "seed": 1})
    assert drawn.status_code == 200, drawn.text
    job = http.post("/v1/jobs", json={"kind": "generate", "prompt": "a wug", "adapters": "wug"})
    assert job.status_code == 202, job.text
    assert http.delete("/v1/adapters/wug").json()["deleted"] is True
    assert http.get("/v1/adapters/wug").status_code == 404
    gone = http.post("/v1/images/generations", json={"prompt": "a wug", "adapters": "wug"})
    assert gone.status_code == 400 and "no adapter 'wug'" in gone.json()["error"]["message"]


def test_run_is_stopped_and_goes_on(http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "learner.py"  # stands for `sumi teach`, which takes longer to start
    script.write_text(LEARNER)
    monkeypatch.setattr(teaching_runs, "COMMAND", (sys.executable, str(script)))
    http.post("/v1/adapters", json={"concept": "my wug", "images": IMAGES, "minutes": 60})
    card = wait_until(http, "wug", lambda card: card.get("step") == 7)
    assert (card["doing"], card["num_steps"], card["eta_s"]) == ("learning", 9, 1.5)
    assert http.get("/v1/adapters/wug/picture").content == b"a sheet"
    assert http.post("/v1/adapters/wug/stop").json()["status"] == "stopped"
    assert [card["name"] for card in http.get("/v1/adapters").json()["data"]] == ["wug"]
    assert http.post("/v1/adapters/wug/resume").json()["status"] == "learning"
    assert http.delete("/v1/adapters/wug").json()["deleted"] is True
    assert http.get("/v1/adapters").json()["data"] == []


@pytest.mark.parametrize(
    ("change", "status", "fault"),
    [
        ({"concept": "a red fox"}, 400, "knows every word"),
        ({"images": IMAGES[:1]}, 400, "images"),
        ({"images": [{"image_url": "data:image/png;base64,AAAA"}] * 2}, 400, "images.0"),
        ({"name": "../wug"}, 400, "small letters"),
        ({"minutes": 0}, 400, "minutes"),
        ({"concept": "naked child"}, 400, ""),
    ],
)
def test_bad_request_to_teach_is_refused(
    http: httpx.Client, change: dict[str, object], status: int, fault: str
) -> None:
    answer = http.post("/v1/adapters", json={"concept": "my wug", "images": IMAGES} | change)
    assert answer.status_code == status and fault in answer.json()["error"]["message"], answer.text
