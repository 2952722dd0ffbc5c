"""The adapters of a task, as text: what is read, what is refused, and that a recipe keeps them."""

from __future__ import annotations

import pytest

from sumi.errors import SumiError
from sumi.pipelines import Recipe, Request, Settings
from sumi.pipelines.adapters import AdapterChoice, join_adapters, parse_adapters
from sumi.systems.unclip.artist import Sumi


def test_adapters_are_read_and_written_alike() -> None:
    text = "mochi:0.8,inky"
    assert parse_adapters(text) == (AdapterChoice("mochi", 0.8), AdapterChoice("inky"))
    assert join_adapters(parse_adapters(" mochi:.8 ,, inky:1 ")) == text
    assert parse_adapters("") == ()


@pytest.mark.parametrize(
    "text", ["mochi:much", "mochi:-1", "mochi:3", "two words", "a:1:2", "mochi,mochi", "a,b,c,d,e,f,g,h,i"]
)
def test_task_refuses_adapters_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SumiError, match="adapter"):
        Request("a fox", adapters=text)


def test_recipe_keeps_adapters_and_older_ones_have_none() -> None:
    recipe = Recipe("a wug", 1, 32, {"decoder": Settings("ddim", 2)}, "tiny", "0", adapters="wug:0.5")
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.request().adapters == "wug:0.5"
    without = Recipe("a wug", 1, 32, {"decoder": Settings("ddim", 2)}, "tiny", "0").to_json()
    assert "adapters" not in without and Recipe.from_json(without).adapters == ""


def test_model_without_such_an_adapter_says_so_in_one_line(
    tiny: Sumi, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUMI_ADAPTERS", str(tmp_path))
    with pytest.raises(SumiError, match=r"no adapter 'wug' in .*; there are none yet"):
        tiny.with_adapters("wug")
    with pytest.raises(SumiError, match="small letters"):
        tiny.with_adapters("../../etc/passwd")
    assert tiny.with_adapters() is tiny
