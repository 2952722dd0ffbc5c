"""A wish that cannot be is refused at once, in a line that says what could be."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from sumi import SumiError
from sumi.pipelines.checks import check_choice, parse_background
from sumi.pipelines.recipe import Settings
from sumi.pipelines.request import Request, Task
from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Vary


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
        ({"sampler": 3}, "the sampler should be text, not int"),
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


def numbers_of(task: Task) -> dict[str, object]:
    return {name: value for name, value in vars(task).items() if not isinstance(value, str | None)}


NUMPY: list[tuple[Task, Task]] = [
    (Request("a fox", seed=np.int64(7)), Request("a fox", seed=7)),  # type: ignore[arg-type]
    (Request("a fox", n=np.int8(2), best_of=np.uint16(9)), Request("a fox", n=2, best_of=9)),  # type: ignore[arg-type]
    (Request("a fox", steps=np.int32(2), size=np.array(64)), Request("a fox", steps=2, size=64)),  # type: ignore[arg-type]
    (Request("a fox", guidance=np.float32(2)), Request("a fox", guidance=2.0)),  # type: ignore[arg-type]
    (Request("a fox", guidance=np.int64(2)), Request("a fox", guidance=2)),  # type: ignore[arg-type]
    (Request("a fox", seed=torch.tensor(7)), Request("a fox", seed=7)),  # type: ignore[arg-type]
    (Request("a fox", whole=np.True_), Request("a fox", whole=True)),  # type: ignore[arg-type]
    (Vary(eta=np.float16(0.5)), Vary(eta=0.5)),
    (Blend(frames=np.int64(3), amount=np.float32(0.5)), Blend(frames=3, amount=0.5)),  # type: ignore[arg-type]
    (Explore(dims=np.int64(3)), Explore(dims=3)),  # type: ignore[arg-type]
    (Restyle("a fox", "a dog", np.float32(0.5)), Restyle("a fox", "a dog", 0.5)),
    (Img2img("a fox", strength=np.float32(0.5)), Img2img("a fox", strength=0.5)),
    (Edit(expand=np.array([0, 1, 2, 3]), rounds=np.int64(1)), Edit(expand=(0, 1, 2, 3), rounds=1)),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("given", "meant"), NUMPY)
def test_numbers_out_of_numpy_are_numbers(given: Task, meant: Task) -> None:
    assert given == meant
    kinds = {type(value) for value in [*numbers_of(given).values(), *getattr(given, "expand", ())]}
    assert kinds <= {int, float, bool, tuple}, "so that a recipe can be written as JSON"


def test_a_stage_takes_numbers_out_of_numpy_too() -> None:
    given = Settings("ddim", np.int64(3), np.float32(2), (np.float32(0.25), 1), np.float64(0.5))  # type: ignore[arg-type]
    assert given == Settings("ddim", 3, 2.0, (0.25, 1), 0.5)
    assert {type(value) for value in (given.steps, given.guidance, *given.interval, given.start)} == {int, float}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("seed", np.float64(7), "7.0"), ("seed", np.bool_(True), "True"), ("seed", np.array([7]), "array([7])"),
        ("n", np.int64(65), "65"), ("steps", 7.5, "7.5"), ("steps", "7", "'7'"), ("guidance", np.float32("nan"), "nan"),
        ("guidance", np.bool_(True), "True"), ("guidance", 10**400, "..."), ("guidance", 2j, "2j"),
        ("guidance", Fraction(10**400), "..."),
        ("whole", "no", "'no'"), ("whole", 1, "1"),
    ],
)  # fmt: skip
def test_what_is_no_such_number_is_still_refused(name: str, value: object, shown: str) -> None:
    with pytest.raises(SumiError) as caught:
        Request("a fox", **{name: value})  # type: ignore[arg-type]
    assert str(caught.value).endswith(shown) and "np." not in str(caught.value)
