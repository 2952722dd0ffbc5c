"""`sumi exam edits` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sumi.evaluation import ranking

Command = Callable[..., Any]


def test_exam_edits_writes_its_record(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BEST_OF", 2)
    ran = command("exam", "edits", "--only", "reranking", "--n", "4", "--json")
    report = json.loads(ran.out)
    assert ran.status == 0 and "reranking: 2 of 2" in ran.err
    gain = report["proofs"]["reranking"]["rows"]["best of 2 less best of 1"]
    assert gain["n"] == 2 and gain["met"] is False, "a random model"
    assert [Path(path).name for path in report["files"]] == ["edits.json", "edits.md", "reranking.png"]
    assert all((tmp_path / path).is_file() for path in report["files"])
    said = command("exam", "edits", "--only", "reranking", "--n", "4").out
    assert "MISSED" in said and said.endswith("exams/edits/reranking.png\n")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--only", "variation"], "did you mean variations"),
        (["--only", "blends"], "run `make artwork`"),
        (["--n", "0"], "range"),
        (["--judge", "nobody"], "there is no judge"),
    ],
)
def test_exam_edits_with_bad_input_prints_one_line(command: Command, options: list[str], wrong: str) -> None:
    ran = command("exam", "edits", *options)
    assert ran.status == 2 and ran.err.count("\n") == 1 and wrong in ran.err
