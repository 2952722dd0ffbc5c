"""What the policy wants reviewed waits in the queue; an approval lets the same request pass, a rejection does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import live_server
import pytest

from sumi import Sumi

POLICY = """
lists: {tubers: potato, fruit: banana}
fuzzy: [tubers]
rules:
  - {id: tubers, category: vegetables, all: [tubers], action: review}
  - {id: fruit, category: fruit, all: [fruit]}
"""
CONCEPT = """
concepts:
  - {id: everything, category: pictures, texts: [a fox], threshold: -1, action: ACTION, sides: [output]}
"""


def draw(client: httpx.Client, prompt: str) -> httpx.Response:
    body = {"prompt": prompt, "size": "16x16", "model": "tiny", "seed": 3, "anyway": True}
    return client.post("/v1/images/generations", json=body)


def error_of(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 400, reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


def write(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "policy.yaml").write_text(text, "utf-8")
    monkeypatch.setenv("SUMI_POLICY", str(folder / "policy.yaml"))


def test_prompt_that_needs_a_review_passes_once_it_is_approved(
    tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, POLICY, monkeypatch)
    with live_server.serving(tiny, tmp_path / "data") as live, live.client() as client:
        blocked = error_of(draw(client, "a b-a-n-a-n-a"))
        assert blocked["code"] == "moderation_blocked" and "(fruit)" in blocked["message"]
        held = error_of(draw(client, "a p0tat0"))
        assert held["code"] == "moderation_review" and held["param"] == "prompt"
        (card,) = client.get("/v1/reviews", params={"status": "pending"}).json()["data"]
        assert card["id"] in held["message"] and card["text"] == "a p0tat0" and card["subject"] == "prompt"
        assert [one["code"] for one in card["reasons"]] == ["tubers"]
        with live.client(live.key().token) as other:
            assert other.get("/v1/reviews").json()["data"] == []
            assert other.post(f"/v1/reviews/{card['id']}", json={"approved": True}).status_code == 403
        assert client.post(f"/v1/reviews/{card['id']}", json={"approved": True}).json()["status"] == "approved"
        assert draw(client, "a p0tat0").status_code == 200
        client.post(f"/v1/reviews/{card['id']}", json={"approved": False})
        assert error_of(draw(client, "a p0tat0"))["code"] == "moderation_blocked"


def test_picture_that_needs_a_review_fails_its_job_and_is_kept_for_the_reviewer(
    tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, CONCEPT.replace("ACTION", "review"), monkeypatch)
    with live_server.serving(tiny, tmp_path / "data") as live, live.client() as client:
        held = error_of(draw(client, "a red fox"))
        assert held["code"] == "moderation_review" and "everything" in held["message"]
        assert client.get("/v1/gallery").json()["data"] == []
        (card,) = client.get("/v1/reviews").json()["data"]
        picture = client.get(f"/v1/reviews/{card['id']}/picture")
        assert card["subject"] == "output" and picture.content.startswith(b"\x89PNG")
        client.post(f"/v1/reviews/{card['id']}", json={"approved": True})
        assert draw(client, "a red fox").status_code == 200
