"""A scene is a value: it survives being written down, and the oracle knows all of it."""

from __future__ import annotations

import pytest

from sumi.data.generator import Scenes
from sumi.data.oracle import COUNTS, Fact, facts, questions, tally
from sumi.data.scene import Place, Relation, Scene, Thing


def test_every_kind_of_scene_survives_json(scenes: Scenes) -> None:
    for index in range(300):
        scene = scenes.scene(index)
        assert Scene.from_json(scene.to_json()) == scene


def test_the_oracle_knows_what_a_caption_may_leave_unsaid() -> None:
    fox = Thing("fox", "noto", (Place(0.25, 0.5, 0.4),), colour="red")
    cats = Thing("cat", "noto", (Place(0.6, 0.5, 0.2), Place(0.8, 0.5, 0.2)))
    scene = Scene("pair", (fox, cats), relation=Relation("left of", 0, 1))
    known = set(facts(scene))
    assert {
        Fact("count", "cat", "2"),
        Fact("colour", "fox", "red"),
        Fact("colour", "cat", "natural"),
        Fact("relation", "fox", "left of", "cat"),
        Fact("background", "picture", "transparent"),
        Fact("style", "picture", "natural"),
    } <= known
    assert tally(scene) == "a fox, two cats"


def test_every_question_has_its_answer_among_the_choices(scenes: Scenes) -> None:
    asked = [question for index in range(300) for question in questions(scenes.scene(index))]
    assert all(not question.choices or question.answer in question.choices for question in asked)
    assert {question.fact.respect for question in asked} >= {"count", "colour", "relation", "word", "style"}


@pytest.mark.parametrize("count", range(2, 7))
def test_counting_is_asked_with_the_whole_range(count: int) -> None:
    thing = Thing("fox", "noto", tuple(Place(0.1 * k, 0.5, 0.1) for k in range(count)))
    asked = {q.text: q for q in questions(Scene("count", (thing,)))}
    assert asked["How many foxes are there?"].answer == str(count)
    assert asked["How many foxes are there?"].choices == COUNTS
