"""`sumi train unclip --data`: a plan before it starts, a model at the end, and nothing of yours replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi.systems.unclip.own_pictures import UnCLIPFromModel

Command = Callable[..., Any]
COLOURS = ("crimson", "teal", "olive", "navy")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {
        stage: replace(plan, batch_size=4, precision="fp32", warmup_steps=1)
        for stage, plan in UnCLIPFromModel.plans.items()
    }
    monkeypatch.setattr(UnCLIPFromModel, "plans", plans)


OWN = ("--licence", "own work")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(12):
        colour = COLOURS[number % 4]
        Image.new("RGB", (20, 16), colour).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a {colour} card")
    return folder


@pytest.fixture
def train(command: Command, pictures: Path, tiny_folder: Path) -> Callable[..., Any]:
    def run(*more: str, data: Path = pictures) -> Any:
        return command("train", "unclip", "--data", str(data), "--from", str(tiny_folder), *OWN, *more)

    return run


def test_train_unclip_dry_run_writes_nothing(train: Callable[..., Any]) -> None:
    ran = train("--steps", "200", "--dry-run", "--json")
    plan = json.loads(ran.out)
    assert ran.status == 0 and list(plan["stages"]) == ["codec", "clip", "prior", "decoder"]
    assert plan["hopeless"] is False and plan["disk_bytes"] > 0 and plan["stages"]["decoder"]["num_steps"] == 200
    assert not Path("runs").exists()
    text = train("--steps", "200", "--dry-run").err
    assert "stage" in text and "expect the shapes of your things" in text and "new words: 5" in text


def test_train_unclip_refuses_a_hopeless_plan_and_goes_on_anyway(train: Callable[..., Any]) -> None:
    ran = train("--steps", "2", "--out", "model")
    assert ran.status == 2 and "error: this would draw noise: 2 steps of the decoder" in ran.err.splitlines()[-1]
    assert not Path("model").exists() and not Path("runs/model/run.json").exists()
    ran = train("--steps", "2", "--out", "model", "--anyway")
    assert ran.status == 0 and ran.out.endswith("serve with: sumi serve --model model\n"), ran
    assert "difference" in ran.err and (Path("model") / "model_index.json").is_file()
    assert train("--steps", "2", "--out", "model", "--anyway").status == 0  # it is finished


def test_train_unclip_refuses_another_folder_in_the_same_run(train: Callable[..., Any], pictures: Path) -> None:
    assert train("--steps", "1", "--out", "model", "--anyway").status == 0
    Image.new("RGB", (20, 16), "red").save(pictures / "00.png")
    ran = train("--steps", "1", "--out", "model", "--anyway")
    assert ran.status == 2 and "was begun with other data: other pictures" in ran.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--out", "mine"), "mine is there and is no model, and nothing of yours is replaced"),
        (("--steps", "1", "--minutes", "1"), "give --steps or --minutes, not both"),
        (("--from-scratch",), "--from needs --data, and goes without --from-scratch"),
        (("--size", "32"), "--size is for training --from-scratch"),
    ],
)
def test_train_unclip_names_what_is_wrong_before_it_begins(
    more: tuple[str, ...], says: str, train: Callable[..., Any]
) -> None:
    ran = train(*more)
    assert ran.status == 2 and ran.out == "" and says in ran.err.splitlines()[-1], ran.err


def test_train_unclip_keeps_a_model_that_the_run_did_not_train(
    train: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_index.json").write_text("{}")
    ran = train("--out", "other")
    assert ran.status == 2 and "other holds a model that runs/other did not train" in ran.err


def test_train_unclip_from_scratch_names_the_smallest_plan_that_works(command: Command, pictures: Path) -> None:
    ran = command("train", "unclip", "--data", str(pictures), "--from-scratch", "--size", "16", "--steps", "10", *OWN)
    last = ran.err.splitlines()[-1]
    assert ran.status == 2 and "12 pictures are too few" in last and "without --from-scratch" in last, ran.err
