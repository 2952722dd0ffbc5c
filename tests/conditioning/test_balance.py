"""Balance adds a tone and a gender to people without, every one equally often, and changes nothing else."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources

import pytest

from sumi.conditioning import Interpretation, Lexicon, balance_people, interpret

LEXICON = Lexicon(json.loads((resources.files("sumi") / "models/sticker/vocabulary.json").read_text("utf-8")))


def balanced(prompt: str, number: int) -> Interpretation:
    return balance_people(interpret(prompt, LEXICON), LEXICON, number)


def test_ten_numbers_in_a_row_hold_every_tone_with_every_gender_once() -> None:
    pairs = Counter(balanced("a farmer", 7 + number).added for number in range(10))
    assert len(pairs) == 10 and set(pairs.values()) == {1}
    assert {gender for gender, _ in pairs} == {"woman", "man"} and len({tone for _, tone in pairs}) == 5


def test_the_words_are_those_of_training_captions_and_said_in_the_note() -> None:
    read = balanced("a farmer", 0)
    assert read.prompt == "a farmer" and read.drawn_as == "a woman farmer with light skin"
    assert read.note == "drawn as: a woman farmer with light skin (woman and light skin for balance)"
    assert interpret(read.drawn_as, LEXICON).drawn_as == read.drawn_as, "they are known words"
    assert Interpretation.from_json(read.to_json()) == read
    assert "added" not in interpret("a fox", LEXICON).to_json(), "recipes of other pictures stay as they were"


@pytest.mark.parametrize(
    "prompt", ["a red fox", "a fox and an owl", "two farmers", "zzyzx", "a man farmer with dark skin"]
)
def test_what_names_nobody_or_names_both_is_left_alone(prompt: str) -> None:
    assert balanced(prompt, 3) == interpret(prompt, LEXICON)


def test_only_what_is_missing_is_added() -> None:
    assert balanced("a female pilot", 1).drawn_as == "a female pilot with medium light skin"
    assert balanced("a pilot with dark skin", 1).drawn_as == "a man pilot with dark skin"


def test_people_among_things_are_balanced() -> None:
    read = balanced("a red fox and a chef", 1)
    assert read.drawn_as == "a red fox and a man chef with medium light skin"
