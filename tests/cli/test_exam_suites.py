"""The suites of `sumi exam` as a person runs them, on the tiny model and a tiny judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from judge_toys import tiny_judge

from sumi.bundles import Bundle, TrainingDrawings
from sumi.evaluation import canaries
from sumi.evaluation.exam_record import ExamRecord
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


def test_canaries_need_drawings_to_be_planted_among(command: Command) -> None:
    ran = command("exam", "canaries")
    assert ran.status == 2 and "carries no drawings" in ran.err


def test_canaries_are_planted_and_the_exam_is_saved(
    command: Command, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(shutil.copytree(tiny_folder, tmp_path / "taught"))
    pictures = torch.randint(0, 256, (2, 4, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures[:, 3] = 255
    own = {"person": "", "icon": "x", "source": "set", "version": "1", "licence": "CC0-1.0", "author": "Ann", "url": ""}
    rows = [{**own, "concept": name} for name in ("fox", "dog")]
    embeddings = torch.nn.functional.normalize(torch.ones(2, bundle.part("clip").config["size"]), dim=1)
    bundle.keep_drawings(TrainingDrawings(embeddings, pictures, rows, bundle.hashes["clip"]))
    run = canaries.run_canaries

    def run_small(drawings: Any, clip: Any, plan: canaries.CanaryPlan, progress: Any) -> canaries.CanaryResult:
        return run(drawings, clip, replace(plan, copies=(1, 3), decoys=3, drawings=2, draws=1), progress)

    monkeypatch.setattr(canaries, "run_canaries", run_small)
    monkeypatch.setattr(canaries, "SAMPLING_STEPS", 2)
    ran = command("exam", "canaries", "-n", "2", "--epochs", "1", "--model", "taught", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert report["settings"]["each"] == 2 and report["learned_from"]["before"] == 10
    assert 6 <= report["learned_from"]["after"] < 10
    assert report["rows"]["planted 3 times, exposure before"]["chance"]["value"] == pytest.approx(0.854, abs=0.01)
    assert (tmp_path / "exams/canaries/canaries-grid.webp").is_file()
    assert ExamRecord.load(tmp_path / "exams/canaries/canaries.json").grid
