"""Grades against what the judge says, where a test decides what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from judge_toys import tiny_judge
from torch import Tensor

from sumi.data.scene import BACKGROUNDS
from sumi.evaluation import grading
from sumi.evaluation.grading import Grade, find_background, grade_pictures, summarize
from sumi.evaluation.questions import Question
from sumi.judge.network import SIZE_PX, JudgeOutput

NAMES = ("car", "cat", "dog", "fox", "hat", "owl")
CLEAR = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)


def said(things: tuple[int, ...], **known: Any) -> JudgeOutput:
    """What the judge says of one picture: things by number, likeliest first; then colours, centres, style and count."""
    judge, many = tiny_judge(NAMES), len(things)
    concepts = torch.linspace(-1, -6, len(NAMES))
    order = [*things, *(k for k in range(len(NAMES)) if k not in things)]
    likely = torch.empty(len(NAMES))
    likely[order] = concepts

    def one_hot(numbers: list[int], size: int) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(numbers), size).float()

    return JudgeOutput(
        likely[None],
        torch.tensor([things]),
        likely[list(things)][None],
        one_hot([judge.colours.index(name) for name in known.get("colours", ["red"] * many)], len(judge.colours))[None],
        torch.tensor([known.get("where", [(0.2, 0.5), (0.8, 0.5)][:many])]),
        one_hot([judge.styles.index(known.get("style", "none"))], len(judge.styles)),
        one_hot([known.get("count", 1) - 1], judge.most),
    )


def facts(monkeypatch: pytest.MonkeyPatch, output: JudgeOutput, question: Question, picture: Tensor = CLEAR) -> Any:
    monkeypatch.setattr(grading, "judge_pictures", lambda *_: output)
    (grade,) = grade_pictures(tiny_judge(NAMES), picture, [question])
    return grade


def test_single_thing_is_right_where_it_is_the_likeliest_and_in_top_5_where_it_is_one_of_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = said((3,))
    order = ["fox", "car", "cat", "dog", "hat", "owl"]
    for place, name in enumerate(order):
        grade = facts(monkeypatch, output, Question("single", "", (name,), (None,)))
        assert grade.facts == {"things": place == 0, "top-5": place < 5}
        assert [seen for seen, _ in grade.seen] == order[:5] and grade.right is (place == 0)


def test_two_things_are_right_in_either_order_and_have_no_top_5(monkeypatch: pytest.MonkeyPatch) -> None:
    for things, right in ((("fox", "owl"), True), (("owl", "fox"), True), (("fox", "cat"), False)):
        grade = facts(monkeypatch, said((3, 5)), Question("pair", "", things, (None, None)))
        assert grade.facts == {"things": right} and [name for name, _ in grade.seen] == ["fox", "owl"]


def test_colours_hold_where_each_that_was_asked_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    output = said((3, 5), colours=["red", "blue"])
    for colours, held in (
        (("red", "blue"), True),
        (("red", None), True),
        ((None, "red"), False),
        (("blue", "red"), False),
    ):
        grade = facts(monkeypatch, output, Question("binding", "", ("fox", "owl"), colours))
        assert grade.facts["colours"] is held and grade.right is held


def test_count_style_and_position_are_marked_where_they_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    output = said(
        (3,), count=4, style="sketch" if "sketch" in tiny_judge(NAMES).styles else tiny_judge(NAMES).styles[1]
    )
    style = tiny_judge(NAMES).styles[int(output.style.argmax())]
    for count, held in ((4, True), (3, False), (5, False)):
        grade = facts(monkeypatch, output, Question("count", "", ("fox",), (None,), count=count))
        assert grade.facts["count"] is held
    assert facts(monkeypatch, output, Question("style", "", ("fox",), (None,), style=style)).right
    assert not facts(monkeypatch, said((3,)), Question("style", "", ("fox",), (None,), style=style)).right
    for relation, held in (("left of", True), ("right of", False)):
        asked = Question("pair held out", "", ("fox", "owl"), (None, None), relation=relation)
        assert facts(monkeypatch, said((3, 5)), asked).facts["position"] is held


@pytest.mark.parametrize("edge", [3, 20])
def test_background_is_the_colour_of_the_border_whatever_is_inside(edge: int) -> None:
    name = "blue" if "blue" in BACKGROUNDS else next(iter(BACKGROUNDS))
    picture = torch.full((4, SIZE_PX, SIZE_PX), 255, dtype=torch.uint8)
    picture[:3] = torch.tensor(BACKGROUNDS[name], dtype=torch.uint8)[:, None, None]
    picture[:, edge:-edge, edge:-edge] = 0
    assert find_background(picture) == name


@pytest.mark.parametrize(("alpha", "opaque"), [(229, False), (230, True)])
def test_background_is_none_where_the_border_is_not_opaque(alpha: int, opaque: bool) -> None:
    picture = torch.full((4, SIZE_PX, SIZE_PX), alpha, dtype=torch.uint8)
    assert (find_background(picture) is not None) is opaque


def test_rows_sum_up_each_category_by_its_facts() -> None:
    single, pair = (
        Question("single", "", ("fox",), (None,)),
        Question("pair", "", ("fox", "owl"), (None, None), "left of"),
    )
    grades = [
        Grade({"things": True, "top-5": True}, ()),
        Grade({"things": False, "top-5": True}, ()),
        Grade({"things": True, "position": False}, ()),
        Grade({"things": True, "position": True}, ()),
    ]
    table = {name: (share.right, share.n) for name, share in summarize([single, single, pair, pair], grades)}
    assert table == {
        "single: top-1": (1, 2), "single: top-5": (2, 2),
        "pair: both things": (2, 2), "pair: position": (1, 2), "pair: all right": (1, 2),
    }  # fmt: skip


def test_grade_is_written_with_shares_of_four_places() -> None:
    grade = Grade({"things": True, "top-5": False}, (("fox", 0.123456),))
    assert grade.to_json() == {"right": True, "facts": {"things": True, "top-5": False}, "seen": {"fox": 0.1235}}
