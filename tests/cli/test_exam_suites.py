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
