from __future__ import annotations

from collections import Counter

import pytest

from sumi.data.split import Combination, is_held_out, relation
from sumi.errors import SumiError
from sumi.evaluation.questions import CATEGORIES, RELATIONS, Syllabus, make_questions

NAMES = (
    "fox", "dog", "cat", "car", "apple", "owl", "umbrella", "glasses", "chef", "taco", "rocket", "tree", "cup", "bus",
)  # fmt: skip
SYLLABUS = Syllabus.common(NAMES, (*NAMES, "unknown"), people=["chef"])


@pytest.mark.parametrize("category", CATEGORIES)
def test_make_questions_returns_a_prefix_of_a_fixed_list(category: str) -> None:
    few, many = make_questions(category, SYLLABUS, 5), make_questions(category, SYLLABUS, 12)
    assert few == many[:5] and few == make_questions(category, SYLLABUS, 5)
    assert all(question.category == category and question.prompt for question in many)
    assert len({question.prompt for question in many}) == len(many)
    assert all(len(question.things) == len(question.colours) for question in many)


def test_syllabus_excludes_held_out_icons() -> None:
    assert is_held_out(Combination("concept", ("taco",))) and "taco" not in SYLLABUS.names
    assert "chef" in SYLLABUS.names and "chef" not in SYLLABUS.objects


def test_held_out_questions_ask_only_for_held_out_combinations() -> None:
    for question in make_questions("colour", SYLLABUS, 40):
        assert is_held_out(Combination("colour", (question.things[0], question.colours[0] or "")))
        assert (question.colours[0] or "") in question.prompt
    for question in make_questions("style", SYLLABUS, 20):
        assert is_held_out(Combination("style", (question.things[0], question.style or "")))
    for question in make_questions("count", SYLLABUS, 20):
        assert is_held_out(Combination("count", (question.things[0], str(question.count))))
    for question in make_questions("pair held out", SYLLABUS, 20):
        assert is_held_out(relation(question.things[0], question.relation or "", question.things[1]))


def test_binding_questions_ask_for_taught_colours() -> None:
    for question in make_questions("binding", SYLLABUS, 20):
        assert question.colours[0] != question.colours[1]
        for pair in zip(question.things, question.colours, strict=True):
            assert not is_held_out(Combination("colour", pair))  # type: ignore[arg-type]


def test_colour_questions_ask_every_object_before_any_again() -> None:
    asked = Counter(question.things[0] for question in make_questions("colour", SYLLABUS, len(SYLLABUS.objects) - 3))
    assert max(asked.values()) <= 2


def test_pair_questions_alternate_relations() -> None:
    asked = make_questions("pair held out", SYLLABUS, 10)
    assert [question.relation for question in asked] == [*RELATIONS, *RELATIONS]
    assert asked[0].prompt.count(" to the left of ") == 1


def test_question_prompts_are_english() -> None:
    said = {question.things: question.prompt for question in make_questions("single", SYLLABUS, 20)}
    assert said["owl",] == "an owl" and said["glasses",] == "glasses"


def test_questions_refuse_unknown_categories_and_a_small_syllabus() -> None:
    with pytest.raises(SumiError, match="no exam in 'singing': choose from single, colour"):
        make_questions("singing", SYLLABUS, 1)
    with pytest.raises(SumiError, match="no two concepts in common"):
        Syllabus.common(["fox"], ["dog"])
