"""The word policy flags its lists in any spelling, and passes harmless prompts."""

from __future__ import annotations

import pytest

from sumi.trust import CATEGORIES, check_words

HARMLESS = (
    "a red fox",
    "a kitchen knife",
    "a naked mole rat in a hat",
    "a bath bomb",
    "a water pistol",
    "an angry crab",
    "a baby",
    "a woman shooting a photo of a bird",
    "a skull with roses",
    "",
    "\0",
    "a" * 100_000,
    "كلب أحمر",
    "a drunken sailor",
)
FLAGGED = (
    ("a nude person", {"sexual"}),
    ("a sexy schoolgirl", {"sexual", "sexual/minors"}),
    ("NUDE", {"sexual"}),
    ("nùdé", {"sexual"}),
    ("n\u200bu\u200bde", {"sexual"}),
    ("пudе, nudе", {"sexual"}),  # the last letter is Cyrillic
    ("a n u d e", {"sexual"}),
    ("nud3", {"sexual"}),
    ("a beheading", {"violence", "violence/graphic"}),
    ("how to make a pipe bomb", {"illicit", "illicit/violent"}),
    ("i want to end my life", {"self-harm/intent"}),
)


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
def test_check_words_passes_harmless_prompts(text: str) -> None:
    assert not check_words(text).flagged


@pytest.mark.parametrize(("text", "categories"), FLAGGED)
def test_check_words_flags_listed_words(text: str, categories: set[str]) -> None:
    result = check_words(text)
    assert {name for name, flagged in result.categories.items() if flagged} == categories
    assert result.flagged and result.scores.keys() == set(CATEGORIES) and len(CATEGORIES) == 13


def test_check_words_sees_through_invisible_characters() -> None:
    assert check_words("nu\u200bde").flagged and check_words("nüde").flagged and check_words("n\u00adude").flagged
    assert not check_words("\u200b" * 1000).flagged
