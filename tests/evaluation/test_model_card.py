"""The model card says what the records say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sumi.bundles import Bundle
from sumi.errors import SumiError
from sumi.evaluation.exam_record import ExamRecord, save_exam
from sumi.evaluation.intervals import BoundedValue, Gain, Share
from sumi.evaluation.model_card import find_records, model_card
from sumi.evaluation.scores import Score


def write(folder: Path, suite: str, bundle: Bundle, **more: Any) -> ExamRecord:
    scores = [
        Score("count: count", Share(150, 200), Share(20, 200), Share(140, 200)),
        Score("spread", BoundedValue(0.125, 0.1, 0.2, 60)),
        Score("gap", Gain(5, 1, 3, 1)),
        Score("nothing", Share(0, 0)),
    ]
    pictures = [{"prompt": "a fox", "seed": 77}]
    rows = {score.name: score.to_json() for score in scores}
    values = {"model": bundle.name, "hashes": dict(bundle.hashes), "rows": rows, "pictures": pictures, **more}
    folder.mkdir(exist_ok=True)
    return ExamRecord.load(save_exam(folder, suite, values)[0])


PROFESSIONS = {
    "chef": {
        "unspecified": {"n": 4, "tone": {"neutral": 3, "dark": 1}, "gender": {"man": 4}},
        "balanced": {"n": 4, "tone": {"light": 2, "dark": 2}, "gender": {"man": 2, "woman": 2}},
    }
}


def test_card_has_every_row_with_its_interval_chance_and_ceiling(tmp_path: Path, tiny_bundle: Bundle) -> None:
    bias = write(tmp_path, "bias", tiny_bundle, professions=PROFESSIONS)
    records = [bias, write(tmp_path, "exam", tiny_bundle, judge="abc")]
    card = model_card(tiny_bundle, records)
    assert "| count: count | 75.0% | 68.6% to 80.5% | 200 | 10.0% | 70.0% | unusable |" in card
    assert "| spread | 0.125 | 0.100 to 0.200 | 60 |  |  |  |" in card and "| gap | -20.0 points |" in card
    assert "| nothing |  |  | 0 |" in card
    assert card.index("### Things, colours") < card.index("### Tones and genders"), "in one order, however given"
    assert "| chef | neutral 3, dark 1 | man 4 | dark 2, light 2 | man 2, woman 2 |" in card
    assert "`sumi exam`, 1 pictures, first seed 77, judge abc." in card
    assert "Broader impacts" in card and "**cannot be compared**" in card and "| DALL·E 2 | 0.94 |" in card
    assert "drawn by hand" in card and "CC0-1.0" in card
    assert card == model_card(tiny_bundle, list(reversed(records))) and "\n\n\n" not in card


def test_exams_of_other_weights_are_refused(tmp_path: Path, tiny_bundle: Bundle) -> None:
    record = write(tmp_path, "exam", tiny_bundle)
    other = ExamRecord(record.path, {**record.values, "hashes": {**tiny_bundle.hashes, "decoder": "0" * 64}})
    with pytest.raises(SumiError, match=r"other weights.*decoder"):
        model_card(tiny_bundle, [other])


def test_records_are_found_in_folders_and_other_files_are_left_out(tmp_path: Path, tiny_bundle: Bundle) -> None:
    write(tmp_path, "exam", tiny_bundle)
    write(tmp_path / "old", "exam", tiny_bundle)
    write(tmp_path / "clip", "clip", tiny_bundle)
    (tmp_path / "edits.json").write_text(json.dumps({"proofs": {}}))
    (tmp_path / "broken.json").write_text("{")
    found = find_records(tmp_path)
    assert [(record.suite, record.path.parent) for record in found] == [("exam", tmp_path), ("clip", tmp_path / "clip")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SumiError, match="no records"):
        find_records(tmp_path / "empty")
