"""Prompts with weights: what each bracket does, and how long prompts are divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sumi.systems.published.weighted_prompt import BREAK, parse_weights


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [
        ("", []),
        ("a red fox: 3 hats", [("a red fox: 3 hats", 1.0)]),
        ("a (red) fox", [("a ", 1.0), ("red", 1.1), (" fox", 1.0)]),
        ("a ((red)) fox", [("a ", 1.0), ("red", 1.21), (" fox", 1.0)]),
        ("a (red:1.3) fox", [("a ", 1.0), ("red", 1.3), (" fox", 1.0)]),
        ("a (red : .5)", [("a ", 1.0), ("red ", 0.5)]),
        ("a [red] fox", [("a ", 1.0), ("red", 1 / 1.1), (" fox", 1.0)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
        ("a (red", [("a ", 1.0), ("red", 1.1)]),
        ("a) b]", [("a) b]", 1.0)]),
        (r"a \(red\) fox", [("a (red) fox", 1.0)]),
        ("(a]b)", [("a]b", 1.1)]),
        ("(x:99)", [("x", 10.0)]),
        ("a BREAK b", [("a ", 1.0), (BREAK, 1.0), (" b", 1.0)]),
        ("BREAKFAST", [("BREAKFAST", 1.0)]),
    ],
)
def test_parse_weights_returns_each_text_with_its_weight(prompt: str, spans: list[tuple[str, float]]) -> None:
    found = parse_weights(prompt)
    assert [text for text, _ in found] == [text for text, _ in spans]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in spans])


@given(st.text("ab :()[].19\\", max_size=40))
def test_parse_weights_keeps_every_letter_in_order_whatever_the_brackets(prompt: str) -> None:
    letters = "".join(text for text, _ in parse_weights(prompt))
    assert [sign for sign in letters if sign in "ab"] == [sign for sign in prompt if sign in "ab"]
