"""Every system of the lineage: it trains from a folder, resumes to the same bytes, saves, loads, draws and serves."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from live_server import serving
from PIL import Image
from torch import nn

import sumi
from sumi.pipelines.steps import StepRequest, Work
from sumi.systems import SYSTEMS, Examples, System, method_for
from sumi.systems import train_system as course
from sumi.systems.dataset import TrainingData
from sumi.systems.train_system import Budget
from sumi.training import load_ema, read_config, train
from sumi.training.batches import stable_seed

SIZE_PX = 16
CLASSES = ("disc", "square")


@pytest.fixture(scope="module")
def material() -> TrainingData:
    """Eight discs and squares in two colours, with a caption and a label each."""
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    shapes = [rows**2 + columns**2 < 30, np.maximum(abs(rows), abs(columns)) < 5]
    pictures = np.zeros((8, 4, SIZE_PX, SIZE_PX), dtype=np.uint8)
    for number in range(8):
        inside = shapes[number % 2]
        pictures[number, 0 if number < 4 else 2][inside] = 200 + number
        pictures[number, 3][inside] = 255
    captions = [f"a {'red' if number < 4 else 'blue'} {CLASSES[number % 2]}" for number in range(8)]
    return TrainingData(
        Examples(pictures, captions, torch.arange(8) % 2, 2), SIZE_PX, CLASSES, told="shapes of the tests"
    )


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what takes long short: NCSN's rounds at a level, rectified flow's couples, GLIDE's and DDPM's steps."""
    method = System.method

    def shorter(row: System) -> Any:
        made: Any = method(row)
        if row.name == "ncsn":
            return replace(made, sampler=replace(made.sampler, num_rounds=1), num_steps=3)
        return made.making(4)

    monkeypatch.setattr(System, "method", shorter)


def stopped_and_resumed(
    system: System, material: TrainingData, straight: Mapping[str, nn.Module], folder: Path
) -> dict[str, torch.Tensor]:
    """The averaged weights of the last stage, trained again by the same plan but stopped after its first step."""
    (*before, stage), plan = list(straight), read_config(folder / "run" / list(straight)[-1])
    assert plan is not None
    for _ in range(2):
        torch.manual_seed(stable_seed(0, stage, 0))
        with torch.no_grad():
            lesson = method_for(system, material.examples).objective(
                stage, material.examples, {name: straight[name] for name in before}
            )
        steps = iter([False, True])
        list(train(lesson, plan, folder / "again", stop=lambda steps=steps: next(steps, False)))
    return load_ema(folder / "again")


def first_request(work: Work[None]) -> StepRequest | None:
    """The first step that a pipeline asks for; None for one that takes no steps."""
    with torch.no_grad():
        for event in work:
            if isinstance(event, StepRequest | sumi.Picture):
                return event if isinstance(event, StepRequest) else None
    return None


@pytest.mark.parametrize("name", SYSTEMS)
def test_system_trains_resumes_identically_saves_loads_draws_and_serves(
    name: str, material: TrainingData, tmp_path: Path
) -> None:
    system = SYSTEMS[name]
    straight = course.train_stages(system, material, tmp_path / "run", Budget(2), quiet=True, rehearsed=False)
    assert straight is not None
    weights = load_ema(tmp_path / "run" / list(straight)[-1])
    for key, weight in stopped_and_resumed(system, material, straight, tmp_path).items():
        assert torch.equal(weight, weights[key]), key

    made = course.save_run_bundle(system, straight, material, tmp_path / "bundle")
    artist = sumi.load(made.folder)
    prompt = "disc" if "labels" in system.needs else "a red disc"
    steps: dict[str, Any] = {} if name in ("gan", "vqvae", "dalle1") else {"steps": 2}
    drawn = artist.generate(prompt, n=2, seed=5, **steps)
    assert [picture.image.size for picture in drawn] == [(SIZE_PX, SIZE_PX)] * 2
    (again,) = (event for event in artist.replay(drawn[1].recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(np.asarray(again.image), np.asarray(drawn[1].image))

    first, second = (first_request(artist.work(sumi.Request(prompt, seed=seed, **steps))) for seed in (1, 2))
    assert (first is None) == (name in ("gan", "vqvae", "dalle1"))
    assert first is None or second is None or first.kind == second.kind, "a server takes the steps of both together"

    usual: dict[str, Any] = {"steps": artist.settings.steps, "guidance": artist.settings.guidance}
    assert artist.work(sumi.Request(prompt, **usual)), "what a page shows as the model's own settings can be sent"

    with serving(artist, tmp_path / "served") as live, live.client() as client:
        body = {"prompt": prompt, "n": 2, "seed": 5, "response_format": "b64_json", "model": artist.model.name, **steps}
        reply = client.post("/v1/images/generations", json=body)
        assert reply.status_code == 200, reply.text
        for datum, picture in zip(reply.json()["data"], drawn, strict=True):
            with Image.open(io.BytesIO(base64.b64decode(datum["b64_json"]))) as served:
                difference = np.asarray(served.convert("RGBA"), int) - np.asarray(picture.image.convert("RGBA"), int)
            assert abs(difference).max() <= 1, "the server draws what the library draws"
        card = client.get("/v1/models").json()["data"][0]
        assert card["sizes"] == [f"{side}x{side}" for side in artist.sizes]
        assert card["operations"] == list(artist.operations)
        refused = client.post("/v1/embeddings", json={"input": "a disc", "model": artist.model.name})
        assert refused.status_code == (200 if artist.embeds_with else 400), refused.text
