"""The suites of `sumi exam` as a person runs them, on the tiny model and a tiny judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_toys import tiny_judge

from sumi.judge import network

Command = Callable[..., Any]
NAMES = ("car", "dog", "fox", "hat")


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "load_judge", lambda folder=None: tiny_judge(NAMES))


def test_exam_is_saved_and_compared(command: Command, tmp_path: Path) -> None:
    ran = command("exam", "--category", "single", "-n", "2", "--out", "a", "--json")
    assert ran.status == 0 and "no artwork" in ran.err, ran.err
    report = json.loads(ran.out)
    assert report["rows"]["single: top-1"]["n"] == 2 and report["model"] == "tiny"
    assert [Path(path).name for path in report["files"]] == ["exam.json", "exam-grid.webp", "single.png"]
    again = command("exam", "--category", "single", "-n", "2", "--out", "b", "--steps", "2")
    assert again.status == 0 and "single: top-1" in again.out
    ran = command("exam", "compare", "a/exam.json", "b/exam.json", "--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["rows"]["single: top-1"]["paired"]
    assert "<table>" in (tmp_path / "exams/compare/compare.html").read_text("utf-8")


def test_models_are_examined_before_they_are_compared(command: Command, tiny_folder: Path) -> None:
    ran = command("exam", "compare", str(tiny_folder), str(tiny_folder), "--category", "single", "-n", "2")
    assert ran.status == 0 and "+0.0% (" in ran.out, ran.err


def test_a_missing_record_is_one_line(command: Command) -> None:
    ran = command("exam", "compare", "nothing.json", "nothing.json")
    assert ran.status == 2 and ran.err.count("\n") == 1 and "is no record of an exam" in ran.err


def test_composition_is_marked_by_atom(command: Command, tmp_path: Path) -> None:
    ran = command("exam", "composition", "-n", "2", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert report["rows"]["negation: whole"]["n"] == 2
    assert report["rows"]["7 atoms, seen: whole"]["n"] == 2 and report["rows"]["7 atoms, seen: atoms"]["unit"] == "%"
    names = [Path(path).name for path in report["files"]]
    assert names == ["composition.json", "composition-grid.webp", "composition.png"]
    ran = command("exam", "compare", *["exams/composition/composition.json"] * 2)
    assert ran.status == 0 and "negation: absence" in ran.out, ran.err


def test_card_is_written_from_saved_exams(command: Command, tmp_path: Path) -> None:
    assert command("exam", "--category", "single", "-n", "2").status == 0
    ran = command("exam", "card", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert report["card"] == "docs/model-card.md" and report["exams"] == {"exam": "exams/exam.json"}
    assert "# Model card: tiny" in (tmp_path / report["card"]).read_text("utf-8")
    assert "single: top-1" in (tmp_path / report["card"]).read_text("utf-8")


@pytest.mark.parametrize("suite", ["bias", "clip", "quality"])
def test_suites_that_need_artwork_say_so_in_one_line(suite: str, command: Command) -> None:
    ran = command("exam", suite, "-n", "8", "--artwork", "nowhere")
    assert ran.status == 2 and ran.err.count("\n") == 1 and ran.err.startswith("error: "), ran.err
