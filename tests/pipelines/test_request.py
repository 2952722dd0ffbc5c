"""A wish that cannot be is refused at once, in a line that says what could be."""

from __future__ import annotations

from typing import Any

import pytest

from sumi import SumiError
from sumi.pipelines.request import Request, check_choice, parse_background


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n\0\u200b"}, "the prompt is empty"),
        ({"prompt": "\ud800"}, "the prompt is empty"),
        ({"prompt": "x" * 4001}, "4,001 characters, and at most 4,000"),
        ({"prompt": "x" * 100_000}, "100,000 characters"),
        ({"prompt": None}, "should be text, not NoneType"),
        ({"prompt": b"fox"}, "should be text, not bytes"),
        ({"negative": "x" * 4001}, "negative prompt has 4,001"),
        ({"negative": 3}, "negative prompt should be text"),
        ({"n": 0}, "n should be a whole number from 1 to 64, not 0"),
        ({"n": 65}, "from 1 to 64"),
        ({"n": True}, "not True"),
        ({"n": 2.0}, "not 2.0"),
        ({"n": "2"}, "not '2'"),
        ({"size": -1}, "size should be"),
        ({"seed": -1}, "seed should be"),
        ({"seed": 2**63}, "seed should be"),
        ({"steps": 0}, "steps should be a whole number from 1 to 1000"),
        ({"steps": 1001}, "steps should be"),
        ({"guidance": float("nan")}, "guidance should be a number from 0 to 30"),
        ({"guidance": float("inf")}, "guidance should be"),
        ({"guidance": -0.1}, "guidance should be"),
        ({"guidance": "3"}, "guidance should be"),
        ({"guidance": True}, "guidance should be"),
        ({"n": 4, "best_of": 3}, "best-of should be a whole number from 4 to 256"),
        ({"sampler": 3}, "sampler should be a name"),
        ({"background": "red"}, "a colour such as #ffd700"),
        ({"background": "#ffd70"}, "unknown background '#ffd70'"),
        ({"background": "#ffd70g"}, "unknown background"),
        ({"background": "#１２３４５６"}, "unknown background"),
        ({"background": "#ffd700\n"}, "unknown background"),
        ({"background": 5}, "unknown background 5"),
        ({"background": "x" * 9999}, "..."),
    ],
)
def test_a_wish_that_cannot_be_is_one_line(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(SumiError) as caught:
        Request(**{"prompt": "a fox"} | wish)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message and message.isprintable() and len(message) < 200


def test_a_wish_in_any_script_is_taken() -> None:
    for prompt in ("狐", "ثعلب أحمر", "🦊", "a\0fox", "x" * 4000, "<script>alert(1)</script>", "'; DROP TABLE--"):
        assert Request(prompt).prompt == prompt


def test_a_wish_may_be_as_large_as_the_bounds() -> None:
    largest = Request("fox", n=64, best_of=256, steps=1000, guidance=30, seed=2**63 - 257)
    assert (largest.n, largest.best_of, largest.steps) == (64, 256, 1000)
    assert Request("fox", guidance=0, steps=1).guidance == 0


def test_backgrounds_are_colours_or_stay_clear() -> None:
    assert parse_background("auto") is parse_background("transparent") is None
    assert parse_background("opaque") == (255, 255, 255)
    assert parse_background("#FFd700") == (255, 215, 0)


def test_a_choice_is_answered_with_the_nearest() -> None:
    check_choice("sampler", "heun", ["euler", "heun"])
    with pytest.raises(SumiError, match="choose one of euler, heun; did you mean heun"):
        check_choice("sampler", "HEUNN", ["euler", "heun"])
