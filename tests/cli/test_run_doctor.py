"""`sumi doctor RUN`: of a run that was really trained, opened again on its own pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi.systems import run_doctor
from sumi.systems.unclip.own_pictures import UnCLIPFromModel

Command = Callable[..., Any]


@pytest.fixture
def own_run(command: Command, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of unCLIP on a dozen pictures, a step of each stage."""
    plans = {
        name: replace(plan, batch_size=4, precision="fp32", warmup_steps=1)
        for name, plan in UnCLIPFromModel.plans.items()
    }
    monkeypatch.setattr(UnCLIPFromModel, "plans", plans)
    tried = run_doctor.try_stages
    monkeypatch.setattr(run_doctor, "try_stages", lambda stages, seconds, progress: tried(stages, 0.1, progress))
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(12):
        colour = ("crimson", "teal", "olive", "navy")[number % 4]
        Image.new("RGB", (20, 16), colour).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a {colour} card")
    start = ("--from", str(tiny_folder), "--licence", "own work")
    ran = command("train", "unclip", "--data", "mine", *start, "--steps", "1", "--run", "run", "--anyway")
    assert ran.status == 0, ran.err
    return Path("run")


def test_a_run_is_opened_again_and_every_stage_is_tried(command: Command, own_run: Path) -> None:
    ran = command("doctor", str(own_run), "--json")
    told = json.loads(ran.out)
    checks = {(one["stage"], one["check"]) for one in told["findings"]}
    assert {(name, "overfit") for name in ("codec", "clip", "prior", "decoder")} <= checks
    assert {(name, "forward") for name in ("codec", "clip", "prior", "decoder")} <= checks
    assert {one for _, one in checks} >= {"clip", "decoder", "weights", "finite"}
    assert ran.status == int(not told["working"])
    text = command("doctor", str(own_run), "--quick").out
    assert text.startswith("run (unclip)\n") and text.endswith("It is working.\n") and "by heart" not in text


def test_other_pictures_by_now_are_named_and_the_files_are_examined(command: Command, own_run: Path) -> None:
    Image.new("RGB", (20, 16), "red").save(Path("mine/00.png"))
    ran = command("doctor", str(own_run))
    assert ran.status == 0 and "nothing was tried on its own pictures: " in ran.out and "other pictures" in ran.out


def test_options_of_the_other_kind_are_refused(command: Command, own_run: Path, tiny_folder: Path) -> None:
    assert "--out is for a model" in command("doctor", str(own_run), "--out", "x").err
    ran = command("doctor", str(tiny_folder), "--quick")
    assert ran.status == 2 and "--quick is for the folder of a training run" in ran.err
