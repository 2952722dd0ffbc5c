"""`sumi report`: a page of a run that was really trained, finished or not, and of an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi.systems import train_system

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(train_system, "PLAN", replace(train_system.PLAN, batch_size=2, precision="fp32"))
    monkeypatch.setenv("SUMI_ADAPTERS", str(tmp_path / "adapters"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for number, colour in enumerate(("red", "#e00", "blue")):
        Image.new("RGB", (9, 7), colour).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"")
    return folder


def test_a_finished_run_is_reported_with_drawings_beside_its_pictures(command: Command, pictures: Path) -> None:
    trained = command("train", "gan", "--data", str(pictures), "--size", "8", "--steps", "2", "--run", "run")
    assert trained.status == 0, trained.err
    ran = command("report", "run", "-n", "3")
    assert (ran.status, ran.out) == (0, "run/report.html\n"), ran.err
    page = Path("run/report.html").read_text("utf-8")
    assert (
        "3 drawings, compared with 3 training pictures" in page and "3 of 3 training pictures name no licence" in page
    )
    told = json.loads(command("report", "run", "-n", "2", "--out", "other.html", "--json").out)
    assert told["kind"] == "gan" and told["finished"] and told["path"] == "other.html"
    assert told["copies"]["drawings"] == 2 and {one["nearest"] for one in told["copies"]["pictures"]} <= {
        "0.png", "1.png", "2.png",
    }  # fmt: skip
    assert told["settings"]["pictures"] == str(pictures) and told["settings"]["machine"]["cores"] >= 1
    assert told["data"]["reasons"][0][1] == 1 and told["stages"]["network"]["step"] == 2


def test_pictures_that_are_gone_are_named_and_the_rest_is_reported(command: Command, pictures: Path) -> None:
    command("train", "gan", "--data", str(pictures), "--size", "8", "--steps", "1", "--run", "run")
    pictures.rename(pictures.parent / "elsewhere")
    ran = command("report", "run", "--json")
    assert ran.status == 0 and "mine" in json.loads(ran.out)["copies"]


def test_an_adapter_is_reported_by_its_name(command: Command, pictures: Path) -> None:
    taught = command("teach", str(pictures), "--as", "my wug", "--steps", "2", "--rank", "2", "--own", "8")
    assert taught.status == 0, taught.err
    told = json.loads(command("report", "wug", "-n", "1", "--json").out)
    assert told["kind"] == "teach" and told["finished"] and told["copies"]["pictures"][0]["prompt"] == "a wug"
    assert Path("adapters/wug.taught/report.html").is_file()
    assert command("adapters", "remove", "wug").status == 0 and not Path("adapters/wug.taught").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("nowhere",), "there is no run 'nowhere'"), (("mine",), "mine holds no training run"),
     (("run", "--out", "x.pdf"), "the report is a page: use x.html, not x.pdf")],
)  # fmt: skip
def test_mistakes_end_in_one_line(command: Command, pictures: Path, arguments: tuple[str, ...], says: str) -> None:
    Path("run/network").mkdir(parents=True)
    Path("run/network/metrics.jsonl").write_text("")
    ran = command("report", *arguments)
    assert ran.status == 2 and says in ran.err and ran.err.count("\n") == 1, ran.err
