"""Quoted words become layers that are set in type; every other prompt is left to the model."""

from __future__ import annotations

import json

import pytest

from sumi.autoregressive import LayoutBox
from sumi.pipelines.layered import set_alone
from sumi.pipelines.layered_image import Composition, LayerSpec
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.typesetting import TypesetText, find_lettering

SPOT = (LayoutBox(0.5, 0.5, 0.5),)


@pytest.mark.parametrize(
    ("prompt", "lettering"),
    [
        ('the word "HI" in red letters', TypesetText("HI", "red")),
        ('"HELLO"', TypesetText("HELLO", "black")),
        ('"CAT" in blue', TypesetText("CAT", "blue")),
        ('the word "JOY" in', TypesetText("JOY", "black")),
        ('The word "LOVE" in pink letters on a blue background', TypesetText("LOVE", "pink")),
        ('the word "BLUE" on a red background', TypesetText("BLUE", "black")),
        ('pixel art of the word "HI"', None),
        ('a cat and the word "HI"', None),
        ('the word "狐"', None),
        ("the word HI", None),
        ("a fox", None),
    ],
)  # fmt: skip
def test_find_lettering_takes_prompts_of_letters_alone(prompt: str, lettering: TypesetText | None) -> None:
    assert find_lettering(prompt) == lettering


def test_set_alone_puts_letters_in_the_middle_over_the_planned_ground() -> None:
    planned = Composition((LayerSpec("a word", SPOT),), (0.1, 0.2, 0.9))
    found = set_alone('"HI"', planned)
    assert found.typeset == ("HI",) and found.ground == planned.ground
    assert [(spot.x, spot.y) for layer in found.layers for spot in layer.spots] == [(0.5, 0.5)]
    assert set_alone("a fox", planned) == planned


def test_recipe_keeps_and_notes_what_is_set_in_type() -> None:
    recipe = Recipe('the word "HI"', 1, 64, {"decoder": Settings("ddim", 2)}, "tiny", "0", typeset=("HI",))
    assert recipe.note == "set in type: HI"
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))).typeset == ("HI",)


def test_composition_of_letters_alone_is_composed() -> None:
    assert Composition((LayerSpec('"HI"', SPOT),)).composed
    assert not Composition((LayerSpec("a fox", SPOT),)).composed
