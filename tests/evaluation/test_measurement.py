"""What a measurement says of its figures, on a terminal, on a page and in its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from sumi.evaluation import measurement
from sumi.evaluation.intervals import Mean, Share
from sumi.evaluation.measurement import (
    Figure,
    Measurement,
    format_markdown,
    load_record,
    measurement_lines,
    sample_sheet,
    save_record,
)
from sumi.judge.network import SIZE_PX

HALF = Share(50, 100)
"""50.0%, between 40.4% and 59.6%."""


@pytest.mark.parametrize(
    ("mark", "sure", "met"),
    [
        (None, False, None), (0.5, False, True), (0.51, False, False), (0.49, False, True),
        (0.40, True, True), (0.41, True, False), (HALF.interval[0], True, False),
    ],
)  # fmt: skip
def test_figure_meets_its_mark_by_its_value_or_surely_by_its_whole_interval(
    mark: float | None, sure: bool, met: bool | None
) -> None:
    assert Figure("x", HALF, mark, sure).met is met


def test_figure_says_its_value_interval_count_and_mark() -> None:
    shown = {"value": "50.0%", "interval": "40.4% to 59.6%", "n": "100"}
    assert Figure("x", HALF).text == {**shown, "asked": ""}
    assert Figure("x", HALF, 0.5).text == {**shown, "asked": "50.0% or more: met"}
    assert Figure("x", HALF, 0.6).text == {**shown, "asked": "60.0% or more: MISSED"}
    assert Figure("x", HALF, 0.4, sure=True).text == {**shown, "asked": "surely above 40.0%: met"}
    assert Figure("x", Share(0, 0)).text["interval"] == ""
    assert Figure("x", HALF, 0.6).to_json()["met"] is False and "mark" not in Figure("x", HALF).to_json()


def proof(note: str = "") -> Measurement:
    figures = (
        Figure("short", HALF, 0.6),
        Figure("a longer name", Mean((2.0, 4.0), "dB", 1)),
        Figure("none", Share(0, 0)),
    )
    return Measurement("It holds.", figures, Image.new("RGB", (8, 8)), "seeds 1 to 2", note)


def test_lines_of_a_measurement_stand_in_columns() -> None:
    assert measurement_lines("blends", proof("By the way.")) == [
        "blends: It holds.",
        "  short           50.0%  (40.4% to 59.6%, n = 100)  60.0% or more: MISSED",
        "  a longer name  3.0 dB  (2.0 dB to 4.0 dB, n = 2)",
        "  none             nan%  nothing tried",
        "  By the way.",
    ]
    assert len(measurement_lines("blends", proof())) == 4


def test_page_holds_each_proof_with_its_claim_table_note_and_seeds(tmp_path: Path) -> None:
    record = {"model": "toy", "proofs": {"blends": proof("By the way.").to_json(), "inversion": proof().to_json()}}
    page = format_markdown(record).splitlines()
    assert page[0] == "# What the edits of toy hold"
    assert page.count("It holds.") == page.count("Drawn from seeds 1 to 2.") == 2 and page.count("By the way.") == 1
    assert "| short | 50.0% | 40.4% to 59.6% | 100 | 60.0% or more: MISSED |" in page
    paths = save_record(tmp_path, record, {"blends": proof().sheet})
    assert [path.name for path in paths] == ["edits.json", "edits.md", "blends.png"]
    assert json.loads(paths[0].read_text()) == record and paths[1].read_text() == format_markdown(record)


def test_record_of_another_model_or_a_damaged_one_counts_for_nothing(tmp_path: Path) -> None:
    about, empty = {"model": "toy", "n": 4}, {"model": "toy", "n": 4, "proofs": {}}
    assert load_record(tmp_path, about) == empty
    kept = {**about, "proofs": {"blends": {}}}
    (tmp_path / "edits.json").write_text(json.dumps(kept))
    assert load_record(tmp_path, about) == kept
    assert load_record(tmp_path, {"model": "toy", "n": 5}) == {"model": "toy", "n": 5, "proofs": {}}
    for damaged in ("{", "[]", json.dumps({**about, "proofs": 3})):
        (tmp_path / "edits.json").write_text(damaged)
        assert load_record(tmp_path, about) == empty


def test_sample_sheet_puts_so_many_rows_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(measurement, "contact_sheet", lambda *arguments: seen.append(arguments))
    row = (torch.zeros(3, 4, 8, 8, dtype=torch.uint8), ["a", "b", "c"])
    sample_sheet([row, row], beside=2)
    sample_sheet([row])
    sample_sheet([])
    assert [(len(pictures), captions, columns) for pictures, captions, columns, _ in seen] == [
        (6, ["a", "b", "c"] * 2, 6),
        (3, ["a", "b", "c"], 3),
        (1, ["nothing to show"], 1),
    ]
    assert {cell_px for *_, cell_px in seen} == {96} and seen[2][0].shape == (1, 4, SIZE_PX, SIZE_PX)
