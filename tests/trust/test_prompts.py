"""The word policy says what its lists say, however it is written, and leaves stickers alone."""

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
def test_what_is_harmless_passes(text: str) -> None:
    assert not check_words(text).flagged


@pytest.mark.parametrize(("text", "categories"), FLAGGED)
def test_what_is_listed_is_found(text: str, categories: set[str]) -> None:
    result = check_words(text)
    assert {name for name, flagged in result.categories.items() if flagged} == categories
    assert result.flagged and result.scores.keys() == set(CATEGORIES) and len(CATEGORIES) == 13


def test_signs_that_are_not_seen_hide_nothing() -> None:
    assert check_words("nu\u200bde").flagged and check_words("nüde").flagged and check_words("n\u00adude").flagged
    assert not check_words("\u200b" * 1000).flagged
