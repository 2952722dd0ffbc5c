"""Texts set in type: ink where the strokes are, in the colour asked for, at any size."""

from __future__ import annotations

import pytest

from sumi.data.scene import COLOURS
from sumi.imaging.letters import GLYPHS, INKS, can_set, set_text


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("HI", True), ("hello", True), ("I love you", True), ("2024", True), ("WOW!", True), ("", False),
        ("   ", False),
        ("one two three four", False), ("internationally", False), ("ünder", False), ("狐", False),
    ],
)  # fmt: skip
def test_can_set_takes_short_words_of_known_glyphs(text: str, known: bool) -> None:
    assert can_set(text) is known


@pytest.mark.parametrize("glyph", sorted(GLYPHS))
def test_set_text_draws_every_glyph_within_the_square(glyph: str) -> None:
    alpha = set_text(glyph, "black", 32)[3]
    assert int((alpha == 255).sum()) > 8
    edge = alpha.clone()
    edge[1:-1, 1:-1] = 0
    assert int(edge.max()) == 0


def test_set_text_of_different_glyphs_differs() -> None:
    drawn = {glyph: set_text(glyph, "black", 24)[3].numpy().tobytes() for glyph in GLYPHS}
    assert len(set(drawn.values())) == len(GLYPHS)


def test_set_text_has_the_ink_premultiplied() -> None:
    picture = set_text("HI", "red", 64)
    assert [int(picture[channel].max()) for channel in range(4)] == [*INKS["red"], 255]
    assert bool((picture[:3] <= picture[3]).all())


def test_set_text_has_one_word_a_line() -> None:
    rows = (set_text("AB CD", "black", 96)[3] > 0).any(dim=1).int()
    assert int((rows.diff() == 1).sum()) == 2


def test_inks_are_the_colours_of_training() -> None:
    assert {name: tuple(COLOURS[name]) for name in COLOURS} == {name: INKS[name] for name in COLOURS}
