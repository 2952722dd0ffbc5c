"""Two saved exams side by side, of figures that can be checked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sumi.errors import SumiError
from sumi.evaluation.compare import compare_exams, comparison_lines, comparison_page, difference
from sumi.evaluation.exam_record import ExamRecord, save_exam
from sumi.evaluation.intervals import Gain, Mean, Share
from sumi.evaluation.scores import Score


def record(folder: Path, model: str, marks: list[bool], seed: int = 0, **more: Any) -> ExamRecord:
    folder.mkdir()
    rows = {
        "single: top-1": Score.of_marks("", marks, ceiling=Share(19, 20)).to_json(),
        "style": Score("", Share(1, 2), ceiling=Share(1, 2)).to_json(),
        "distance": Score("", Mean((1.0, 2.0, 3.0))).to_json(),
    }
    pictures = [{"prompt": f"<b>{k}</b>", "seed": seed + k} for k in range(len(marks))]
    values = {"model": model, "judge": "j", "rows": rows, "pictures": pictures, **more}
    levels = torch.full((len(marks), 4, 8, 8), 255, dtype=torch.uint8)
    return ExamRecord.load(save_exam(folder, "exam", values, levels, range(len(marks)))[0])


def test_same_questions_are_paired(tmp_path: Path) -> None:
    before, after = [False] * 30 + [True] * 10, [True] * 38 + [False] * 2
    compared = compare_exams(record(tmp_path / "a", "old", before), record(tmp_path / "b", "new", after))
    row = compared.rows[0]
    gain = Gain.of(before, after)
    assert row.paired and row.differs and row.change is not None
    assert row.change == pytest.approx([100 * x for x in (gain.value, *gain.interval)])
    assert row.one is not None and row.one[0] == 25 and row.ceiling == 95 and row.usable
    assert compared.rows[1].usable is False and not compared.rows[1].differs
    assert compared.rows[2].unit == "" and compared.rows[2].change is not None and compared.rows[2].change[0] == 0
    assert compared.notes == ()


def test_other_seeds_are_not_paired_and_another_judge_is_named(tmp_path: Path) -> None:
    one = record(tmp_path / "a", "old", [True] * 8 + [False] * 2)
    other = record(tmp_path / "b", "new", [True] * 8 + [False] * 2, seed=5, judge="k")
    compared = compare_exams(one, other)
    assert not compared.rows[0].paired and "unpaired" in compared.notes[1] and "judge" in compared.notes[0]
    share = Share(8, 10)
    reach = 100 * ((share.value - share.interval[0]) ** 2 + (share.interval[1] - share.value) ** 2) ** 0.5
    assert compared.rows[0].change == pytest.approx((0, -reach, reach), abs=0.02)


def test_difference_has_the_limits_of_newcombe() -> None:
    """56/70 less 48/80 is 0.2, from 0.0524 to 0.3339: Newcombe 1998, table II, method 10."""
    one, other = ((share.value, *share.interval) for share in (Share(48, 80), Share(56, 70)))
    assert difference(one, other) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_page_has_the_table_the_chart_and_pictures_and_escapes_prompts(tmp_path: Path) -> None:
    one, other = (record(tmp_path / name, name, [True, False] * 5) for name in ("old", "<new>"))
    page = comparison_page(compare_exams(one, other))
    assert "&lt;new&gt;" in page and "<new>" not in page and page.count("data:image/png") == 2
    assert page.count("<svg") == 2, "shares have a bar, a mean has none"
    assert '<tr class="unusable"><td>style' in page and "50.0%" in page
    assert comparison_lines(compare_exams(one, other))[1].startswith("single: top-1")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": {}}', '{"rows": {"a": 1}}'])
def test_other_files_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(SumiError, match="is no record of an exam"):
        ExamRecord.load(tmp_path / "other.json")


def test_exams_without_a_common_row_are_refused(tmp_path: Path) -> None:
    one = record(tmp_path / "a", "old", [True])
    (tmp_path / "b.json").write_text(json.dumps({"rows": {"other": Share(1, 2).to_json()}}))
    with pytest.raises(SumiError, match="no row in common"):
        compare_exams(one, ExamRecord.load(tmp_path / "b.json"))
