from __future__ import annotations

import pytest

from sumi.evaluation.intervals import Mean, Share
from sumi.evaluation.scores import USABLE, Score, score_lines, scores_of


@pytest.mark.parametrize(("right", "usable"), [(9, True), (10, True), (8, False)])
def test_score_is_usable_where_the_judge_is_right_about_true_pictures(right: int, usable: bool) -> None:
    assert USABLE == 0.9
    assert Score("a", Share(1, 2), None, Share(right, 10)).usable is usable


@pytest.mark.parametrize("ceiling", [None, Share(0, 0), Mean((0.5,))])
def test_nothing_is_said_of_a_judge_that_was_not_measured(ceiling: Share | Mean | None) -> None:
    assert Score("a", Share(1, 2), None, ceiling).usable is None


def test_scores_stand_beside_the_marks_of_true_pictures() -> None:
    first, second = scores_of({"a": [True, False], "b": [True]}, {"a": [True] * 3}, {"a": [False] * 4})
    assert (first.value, first.ceiling, first.chance) == (Share(1, 2), Share(3, 3), Share(0, 4))
    assert second.ceiling is second.chance is None
    kept = first.to_json()
    assert kept["marks"] == "10" and kept["share"] == 0.5 and kept["usable"] and kept["ceiling"]["n"] == 3


def test_table_names_what_is_unusable() -> None:
    lines = score_lines(
        [Score("good", Share(1, 2), Share(0, 9), Share(9, 9)), Score("bad", Share(1, 2), None, Share(0, 9))]
    )
    assert lines[0].split() == ["score", "(95%)", "chance", "ceiling"]
    assert lines[1].endswith("100.0%") and "0.0%" in lines[1] and "n = 2" in lines[1]
    assert "unusable" in lines[2] and "unusable" not in lines[1]
