"""True scenes show what their questions ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sumi.data.scene import STYLES
from sumi.data.standing import standings
from sumi.evaluation.grading import find_background
from sumi.evaluation.questions import RELATIONS, Question
from sumi.evaluation.true_scenes import TrueScenes
from sumi.judge import JudgeTraining

ONE = Question("a", "a fox", ("fox",), (None,))
TWO = Question("a", "a fox and an owl", ("fox", "owl"), ("red", None))


@pytest.fixture(scope="module")
def truth(judge_training: JudgeTraining) -> TrueScenes:
    return TrueScenes(judge_training.scenes("train"))


@pytest.mark.parametrize("relation", RELATIONS)
def test_two_things_stand_as_asked(relation: str, truth: TrueScenes) -> None:
    for number in range(8):
        scene = truth.scene(replace(TWO, relation=relation), number)
        assert ("fox", relation, "owl") in set(standings(scene))
        assert [thing.colour for thing in scene.things] == ["red", None]


@pytest.mark.parametrize("count", range(2, 7))
def test_as_many_are_shown_as_asked(count: int, truth: TrueScenes) -> None:
    scene = truth.scene(replace(ONE, count=count), 3)
    assert scene.things[0].count == count and scene.kind == "count"


def test_background_style_and_word_are_drawn(truth: TrueScenes) -> None:
    asked = replace(ONE, background="green", style=STYLES[1], lettering=("HI", "red"))
    scene = truth.scene(asked, 0)
    assert scene.style == STYLES[1] and scene.lettering is not None and scene.lettering.text == "HI"
    picture = truth.render([asked])[0]
    assert find_background(picture) == "green"
    assert (picture - truth.render([replace(asked, lettering=None)])[0])[:, 44:].float().abs().sum() > 0


def test_scenes_are_the_same_every_time_and_differ_by_number(truth: TrueScenes) -> None:
    assert truth.scene(ONE, 1) == truth.scene(ONE, 1) != truth.scene(ONE, 2)
    assert truth.shows("fox") and not truth.shows("unicorn")
