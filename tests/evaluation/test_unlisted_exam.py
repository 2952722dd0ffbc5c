"""The exam of unlisted words: which words it asks for, and what counts as understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sumi.conditioning import Lexicon
from sumi.conditioning.english import english
from sumi.conditioning.lexicon import words_of
from sumi.data.taught import record
from sumi.evaluation.everyday_exam import EverydayPrompt
from sumi.evaluation.unlisted_exam import draw_nonsense, draw_unlisted_words, examine_words, is_understood

VOCABULARY = json.loads((Path(__file__).parents[1] / "conditioning/wide_vocabulary.json").read_text("utf-8"))
LEXICON = Lexicon(record(VOCABULARY["concepts"], VOCABULARY["roles"], [], ["noto"]))


def test_draw_unlisted_words_gives_no_listed_name_and_only_taught_concepts() -> None:
    asked = draw_unlisted_words(LEXICON, 200)
    assert len({one.prompt for one in asked}) == 200
    assert not any(words_of(one.prompt) in LEXICON.phrases for one in asked)
    assert all(one.things[0] in LEXICON.things for one in asked)


def test_draw_unlisted_words_of_a_small_vocabulary_asks_for_its_concepts_alone() -> None:
    small = Lexicon(record({"dog": ["dog"], "oak": ["oak", "tree"]}, [], [], ["noto"]))
    asked = draw_unlisted_words(small, 10)
    assert asked and {one.things[0] for one in asked} == {"dog"}


@pytest.mark.parametrize(
    ("word", "concept", "understood"),
    [("terrier", "dog", True), ("terrier", "cat", False), ("xqzzt", "dog", False), ("two terriers", "dog", True)],
)
def test_is_understood_needs_the_concept_in_the_prompt_as_drawn(word: str, concept: str, understood: bool) -> None:
    assert is_understood(EverydayPrompt(word, "", (concept,)), LEXICON) is understood


def test_draw_nonsense_gives_the_same_words_for_a_seed_and_none_is_english() -> None:
    words = draw_nonsense(50, 3)
    assert words == draw_nonsense(50, 3) != draw_nonsense(50, 4) and len(set(words)) == 50
    assert not any(english().is_word(word) for word in words)


def test_examine_words_of_the_wide_vocabulary_reaches_the_aims() -> None:
    rows = dict(examine_words(LEXICON, draw_unlisted_words(LEXICON, 200), draw_nonsense(200, 1)))
    assert rows["unlisted word is understood"].interval[0] >= 0.6
    assert rows["nonsense is said to be unknown"].right >= 196
