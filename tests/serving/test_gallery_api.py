"""The gallery's routes: likes, origins, layers and archives."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import live_server
import numpy as np
import pytest
from live_server import PATIENCE_S, Live, opened
from PIL import Image
from sqlalchemy import update

from sumi import Sumi
from sumi.store import Limits, PictureRow
from sumi.studio import PAGES, add_studio

FOX = {"kind": "generate", "prompt": "a red fox", "seed": 3, "size": 16, "steps": 2}
PAIR = FOX | {"prompt": "a red fox and a blue dog", "background": "transparent"}


@pytest.fixture(scope="module")
def live(arranging: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("gallery")
    with live_server.serving(arranging, folder, furnish=add_studio, public_paths=PAGES) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def drawn(http: httpx.Client, **body: Any) -> dict[str, Any]:
    """Draw a job to its end and return it."""
    reply = http.post("/v1/jobs", json=body)
    assert reply.status_code == 202, reply.text
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = http.get(f"/v1/jobs/{reply.json()['id']}").json()
        if job["status"] not in ("queued", "running"):
            assert job["status"] == "succeeded", job
            return job
        time.sleep(0.02)
    raise AssertionError("it did not end")


def test_gallery_with_liked_shows_only_liked_pictures(http: httpx.Client, live: Live) -> None:
    one, other = (drawn(http, **FOX)["pictures"][0]["id"] for _ in range(2))
    assert http.patch(f"/v1/gallery/{one}", json={"liked": True}).json()["liked"] is True
    liked = http.get("/v1/gallery", params={"liked": True}).json()["data"]
    assert [picture["id"] for picture in liked] == [one]
    nearest = http.get("/v1/gallery", params={"liked": True, "meaning": "a fox"}).json()["data"]
    assert [picture["id"] for picture in nearest] == [one]
    assert other in [picture["id"] for picture in http.get("/v1/gallery").json()["data"]]
    assert http.patch(f"/v1/gallery/{one}", json={"liked": False}).json()["liked"] is False
    assert http.get("/v1/gallery", params={"liked": True}).json()["data"] == []
    with live.client(live.key().token) as stranger:
        assert stranger.patch(f"/v1/gallery/{one}", json={"liked": True}).status_code == 404


def test_job_of_a_gallery_picture_names_its_origin(http: httpx.Client) -> None:
    fox = drawn(http, **FOX)["pictures"][0]
    dog = drawn(http, **FOX | {"prompt": "a blue dog"})["pictures"][0]
    assert (fox["operation"], fox["prompt"]) == ("generate", "a red fox")
    varied = drawn(http, kind="vary", images=[{"picture": fox["id"]}], steps=2, size=16)
    assert varied["origins"] == [{"picture": fox["id"], "prompt": "a red fox"}]
    variation = varied["pictures"][0]
    assert (variation["operation"], variation["prompt"]) == ("vary", "a red fox")
    larger = drawn(http, kind="upscale", images=[{"picture": variation["id"]}])
    assert (larger["pictures"][0]["operation"], larger["pictures"][0]["prompt"]) == ("upscale", "a red fox")
    pair = [{"picture": fox["id"]}, {"picture": dog["id"]}]
    blended = drawn(http, kind="blend", images=pair, frames=2, steps=2)
    assert {picture["prompt"] for picture in blended["pictures"]} == {"a red fox to a blue dog"}
    found = http.get("/v1/gallery", params={"words": "red fox", "limit": 100}).json()["data"]
    assert variation["id"] in [picture["id"] for picture in found]


def test_job_of_an_upload_has_an_origin_without_id(http: httpx.Client, leaf: Image.Image) -> None:
    file = io.BytesIO()
    leaf.save(file, format="PNG")
    upload = {"image_url": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
    varied = drawn(http, kind="vary", images=[upload], steps=2, size=16)
    assert varied["origins"] == [{"picture": None, "prompt": ""}] and varied["pictures"][0]["prompt"] == ""


def test_layers_of_a_picture_composite_to_the_picture(http: httpx.Client) -> None:
    picture = drawn(http, **PAIR)["pictures"][0]["id"]
    layers = http.get(f"/v1/gallery/{picture}/layers").json()["data"]
    assert [layer["prompt"] for layer in layers] == ["a red fox", "a blue dog"]
    images = [opened(layer["image"]).convert("RGBA") for layer in layers]
    merged = Image.alpha_composite(*images)
    whole = opened(http.get(f"/v1/gallery/{picture}/content").content).convert("RGBA")
    seen = [np.asarray(Image.alpha_composite(Image.new("RGBA", whole.size, "white"), one)) for one in (merged, whole)]
    assert np.abs(seen[0].astype(int) - seen[1].astype(int)).max() <= 4, "the layers do not add up to the picture"
    file = http.get(f"/v1/gallery/{picture}/openraster")
    assert file.headers["content-type"] == "image/openraster"
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert archive.namelist()[0] == "mimetype" and "data/layer-2.png" in archive.namelist()


def test_layers_of_a_picture_in_one_piece_are_empty(http: httpx.Client, live: Live) -> None:
    picture = drawn(http, **FOX)["pictures"][0]["id"]
    assert http.get(f"/v1/gallery/{picture}/layers").json()["data"] == []
    refused = http.get(f"/v1/gallery/{picture}/openraster")
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "no_layers"
    with live.client(live.key().token) as stranger:
        assert stranger.get(f"/v1/gallery/{picture}/layers").status_code == 404


def test_layers_are_charged_to_the_key_once_and_steps_each_time(live: Live) -> None:
    one_drawing = 16 * 16 * 2  # pixels times steps
    key = live.key("draw", "read", limits=Limits(pixel_steps_per_day=4 * one_drawing))
    with live.client(key.token) as http:
        picture = drawn(http, **PAIR)["pictures"][0]["id"]
        assert http.get(f"/v1/gallery/{picture}/layers").status_code == 200
        for _ in range(3):
            assert http.get(f"/v1/gallery/{picture}/openraster").status_code == 200, "they are remembered"
        assert [http.get(f"/v1/gallery/{picture}/steps").status_code for _ in range(3)] == [200, 200, 429]
        other = http.get(f"/v1/gallery/{picture}/layers")
        assert other.status_code == 200, "remembered layers cost nothing"


def test_layers_of_other_weights_are_refused(http: httpx.Client, live: Live) -> None:
    picture = drawn(http, **PAIR)["pictures"][0]["id"]
    recipe = http.get(f"/v1/gallery/{picture}").json()["recipe"]
    strange = recipe | {"hashes": recipe["hashes"] | {"decoder": "0" * 64}}
    with live.store.database.write() as session:
        session.execute(update(PictureRow).where(PictureRow.id == picture).values(recipe=strange))
    refused = http.get(f"/v1/gallery/{picture}/layers")
    assert refused.status_code == 409 and "other weights" in refused.json()["error"]["message"]


def test_archive_holds_each_picture_once_under_its_own_name(http: httpx.Client, live: Live) -> None:
    one, other = drawn(http, **FOX)["pictures"][0], drawn(http, **FOX)["pictures"][0]
    reply = http.post("/v1/gallery/archive", json={"pictures": [one["id"], other["id"], one["id"]]})
    assert reply.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.namelist() == ["a-red-fox-3.png", "a-red-fox-3-2.png"]
        for name, picture in zip(archive.namelist(), (one, other), strict=True):
            assert archive.read(name) == http.get(f"/v1/gallery/{picture['id']}/content").content
    assert http.post("/v1/gallery/archive", json={"pictures": []}).status_code == 400
    with live.client(live.key().token) as stranger:
        assert stranger.post("/v1/gallery/archive", json={"pictures": [one["id"]]}).status_code == 404
