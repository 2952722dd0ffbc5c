"""Explanations of a picture: its words and its nearest drawings, for its owner alone."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import live_server
import pytest
import torch
from conftest import SIZE_PX
from live_server import PATIENCE_S, Live, opened

from sumi import Sumi
from sumi.bundles import TrainingDrawings
from sumi.explain.nearest_drawings import aligned
from sumi.imaging.pixels import premultiply
from sumi.pipelines.steps import Pause
from sumi.serving import StoppedError
from sumi.serving.errors import ApiError
from sumi.serving.outside_engine import run_outside_engine
from sumi.store import Limits, OverLimitError


@pytest.fixture(scope="module")
def taught(tiny: Sumi) -> Sumi:
    """The tiny model with three of its own pictures as training drawings."""
    images = tiny.generate("a red fox", n=3, seed=3, size=SIZE_PX, background="transparent").images
    pictures = [aligned(premultiply(image), SIZE_PX) for image in images]
    seen = tiny.pipeline.embed(torch.stack(pictures))
    own = {"person": "", "icon": "x", "source": "s", "version": "1", "licence": "MIT", "author": "A", "url": ""}
    rows = [{"concept": f"fox {number}", **own} for number in range(3)]
    return replace(tiny, drawings=lambda: TrainingDrawings(seen, torch.stack(pictures), rows, ""))


@pytest.fixture(scope="module")
def live(taught: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(taught, tmp_path_factory.mktemp("evidence")) as server:
        yield server


@pytest.fixture(scope="module")
def picture(live: Live) -> str:
    """A picture in the gallery that equals the second training drawing."""
    with live.client() as http:
        body = {"prompt": "a red fox", "size": f"{SIZE_PX}x{SIZE_PX}", "seed": 4, "background": "transparent"}
        reply = http.post("/v1/images/generations", json=body).json()
    identity: str = reply["data"][0]["id"]
    return identity


def test_words_of_a_picture_have_shares_and_heat_maps(live: Live, picture: str) -> None:
    with live.client() as http:
        reply = http.get(f"/v1/gallery/{picture}/words").json()
    assert (reply["picture"], reply["prompt"]) == (picture, "a red fox")
    (drawn,) = live.sumi.generate("a red fox", seed=4, size=SIZE_PX, background="transparent")
    words = live.sumi.explain(drawn.recipe).words
    assert [card["word"] for card in reply["data"]] == ["a", "red", "fox"] == [word.text for word in words]
    assert [card["share"] for card in reply["data"]] == pytest.approx([word.share for word in words], abs=1e-2)
    for card in reply["data"]:
        assert opened(base64.b64decode(card["without"])).size == (SIZE_PX, SIZE_PX)
        assert opened(base64.b64decode(card["heat"])).mode == "RGB"


def test_nearest_drawings_are_listed_with_their_rights(live: Live, picture: str) -> None:
    with live.client() as http:
        cards = http.get(f"/v1/gallery/{picture}/nearest", params={"k": 2}).json()["data"]
        every = http.get(f"/v1/gallery/{picture}/nearest", params={"k": 60}).json()["data"]
    closest = min(cards, key=lambda card: card["distance"])
    assert (len(cards), len(every), closest["concept"], closest["licence"]) == (2, 3, "fox 1", "MIT")
    assert closest["distance"] < 0.03, "but for rounding it is the same picture"
    assert opened(base64.b64decode(closest["thumbnail"])).size == (SIZE_PX, SIZE_PX)


def test_explanations_of_another_keys_picture_are_404(live: Live, picture: str) -> None:
    with live.client(live.key().token) as other:
        for what in ("words", "nearest"):
            assert other.get(f"/v1/gallery/{picture}/{what}").status_code == 404


def test_explanations_that_the_model_cannot_give_are_refused(
    live: Live, picture: str, tiny: Sumi, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with live.client() as http:
        job = http.post("/v1/jobs", json={"kind": "vary", "images": [{"picture": picture}], "steps": 1}).json()
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
            events.read()
        varied = http.get(f"/v1/jobs/{job['id']}").json()["pictures"][0]["id"]
        reply = http.get(f"/v1/gallery/{varied}/words")
        assert reply.status_code == 400 and "made by vary" in reply.json()["error"]["message"]
        assert http.get(f"/v1/gallery/{picture}/nearest", params={"k": 0}).status_code == 400
    with live_server.serving(tiny, tmp_path_factory.mktemp("untaught")) as server, server.client() as http:
        body = {"prompt": "a fox", "size": f"{SIZE_PX}x{SIZE_PX}"}
        drawn = http.post("/v1/images/generations", json=body).json()["data"][0]["id"]
        assert http.get(f"/v1/gallery/{drawn}/nearest").json()["error"]["code"] == "no_drawings"


def test_explanation_is_charged_to_the_key(live: Live, picture: str) -> None:
    key = live.key("draw", limits=Limits(pixel_steps_per_day=100))
    with live.client() as http:
        assert http.get(f"/v1/gallery/{picture}/words").status_code == 200
    poor = live.key("draw", limits=Limits(pixel_steps_per_day=1))
    with pytest.raises(OverLimitError):
        live.store.keys.charge(poor.key, 2)
    live.store.keys.charge(key.key, 100)
    with pytest.raises(OverLimitError):
        live.store.keys.charge(key.key, 50)


def test_explanation_over_the_daily_allowance_is_429(live: Live) -> None:
    cost = SIZE_PX**2 * 50
    poor = live.key("draw", "read", limits=Limits(pixel_steps_per_day=cost))
    with live.client(poor.token) as http:
        body = {"prompt": "a red fox", "size": f"{SIZE_PX}x{SIZE_PX}", "steps": 40}
        drawn = http.post("/v1/images/generations", json=body).json()["data"][0]["id"]
        assert http.get(f"/v1/gallery/{drawn}/words").status_code == 429


class Endless:
    """A request whose client disconnects, a service that may stop, and work that never ends."""

    def __init__(self) -> None:
        self.accepting, self.steps, self.closed = True, 0, False

    async def receive(self) -> dict[str, str]:
        await asyncio.sleep(0.2 if self.leaves else 60)
        return {"type": "http.disconnect"}

    leaves = True

    def work(self) -> Iterator[Pause]:
        try:
            while True:
                self.steps += 1
                time.sleep(0.001)
                yield Pause()
        finally:
            self.closed = True


@pytest.mark.parametrize("leaves", [True, False])
def test_run_outside_engine_stops_with_its_client_or_the_server(leaves: bool) -> None:
    endless: Any = Endless()
    endless.leaves = leaves

    async def ask() -> None:
        if not leaves:
            asyncio.get_running_loop().call_later(0.2, setattr, endless, "accepting", False)
        await run_outside_engine(endless, endless, endless.work())

    with pytest.raises(ApiError if leaves else StoppedError):
        asyncio.run(asyncio.wait_for(ask(), PATIENCE_S))
    assert endless.closed and endless.steps > 0
