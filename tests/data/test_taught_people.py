"""What a model is said to know of people: a prompt names them as the captions did."""

from __future__ import annotations

import pytest

from sumi.conditioning import Lexicon
from sumi.conditioning.interpretation import interpret
from sumi.data import taught

PEOPLE = {
    "chef": ["chef", "cook"],
    "man": ["man"],
    "woman": ["woman"],
    "person with red hair": ["person with red hair"],
    "people with bunny ears": ["people with bunny ears"],
}
THINGS = {"fox": ["fox"], "ear": ["ear"]}
WORDS = ("a", "an", "with", "skin", "dark", "skinned", "red", "hair", "bunny", "ears", "male", "female", "man", "woman")


def lexicon(roles: dict[str, list[str]]) -> Lexicon:
    """Return the lexicon of a model that was taught some roles and two things."""
    return Lexicon(taught.record({**THINGS, **roles}, set(roles), WORDS, ["noto"]))


@pytest.mark.parametrize(
    "caption",
    [
        "a woman chef",
        "a male cook with dark skin",
        "a dark-skinned woman with red hair",
        "a man with red hair",
        "women with bunny ears",
        "a woman with dark skin",
    ],
)
def test_prompt_like_a_caption_of_a_person_is_drawn_as_it_is(caption: str) -> None:
    found = interpret(caption, lexicon(PEOPLE))
    assert found.drawn_as == caption and not found.unknown and not found.stand_ins


def test_record_of_a_model_without_men_and_women_lists_no_compounds() -> None:
    record = taught.record({**THINGS, "chef": ["chef", "cook"]}, {"chef"}, WORDS, ["noto"])
    assert record["gendered"] == [] and set(record["nouns"]) - set(taught.SHAPES) == {"fox", "ear", "chef", "cook"}
    assert interpret("a woman chef with dark skin", Lexicon(record)).drawn_as == "a woman chef with dark skin"


def test_record_lists_the_manners_of_the_artists_alone() -> None:
    styles = taught.record(THINGS, (), WORDS, ["noto-v1"])["styles"]
    assert "blob style" in styles and "twemoji style" not in styles


def test_listed_vocabulary_does_not_repeat_people_by_gender() -> None:
    listed = lexicon(PEOPLE).list_entries()
    assert listed["roles"]["chef"] == ["cook"] and "woman chef" not in listed["roles"]
