"""What may be asked to be done to pictures, and what is refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from sumi import Sumi, SumiError
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.tasks import TASKS, Blend, Edit, Img2img, Restyle, Upscale, Vary


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        (Vary, {"n": 0}, "n should be a whole number from 1 to 64"),
        (Vary, {"eta": 1.5}, "eta should be a number from 0 to 1, not 1.5"),
        (Vary, {"eta": "much"}, "eta should be"),
        (Vary, {"prompt": "a fox"}, "vary has no prompt"),
        (Vary, {"sampler": "heun"}, "vary has no sampler"),
        (Vary, {"colour": "red"}, "vary has no colour; see sumi.pipelines.Vary"),
        (Blend, {"frames": 1}, "frames should be a whole number from 2 to 64"),
        (Blend, {"frames": None}, "frames should be"),
        (Blend, {"amount": -0.1}, "amount should be a number from 0 to 1"),
        (Blend, {"noise": "fix"}, "unknown noise 'fix': choose one of inverted, fixed; did you mean fixed"),
        (Blend, {"n": 3}, "blend has no n"),
        (Restyle, {"before": "a", "after": "b", "amount": 1.01}, "amount should be a number from 0 to 1"),
        (Restyle, {"before": "a", "after": "b", "amount": float("nan")}, "amount should be"),
        (Restyle, {"before": " ", "after": "b"}, "the text before is empty"),
        (Restyle, {"before": "a", "after": 3}, "the text after should be text"),
        (Restyle, {"before": "a fox", "after": " a  fox"}, "two different texts"),
        (Img2img, {"prompt": ""}, "the prompt is empty"),
        (Img2img, {"prompt": "a", "strength": 0}, "strength should be a number from 0.01 to 1"),
        (Img2img, {"prompt": "a", "strength": 1.1}, "strength should be"),
        (Edit, {"expand": (1, 2, 3)}, "expand should be four numbers"),
        (Edit, {"expand": "1,2,3,4"}, "expand should be four numbers"),
        (Edit, {"expand": (1, 2, 3, -4)}, "each number of expand should be a whole number from 0"),
        (Edit, {"expand": (1, 2, 3, None)}, "each number of expand"),
        (Edit, {"rounds": 0}, "rounds should be"),
        (Edit, {"size": 64}, "edit has no size"),
        (Edit, {"prompt": 5}, "the prompt should be text"),
        (Upscale, {"n": 2}, "upscale has no n"),
        (Upscale, {"steps": 0}, "steps should be"),
    ],
)
def test_a_task_that_cannot_be_is_one_line(kind: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SumiError) as caught:
        kind.of(**settings)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "task",
    [
        Vary(n=1, eta=0.5, background="#ff0000"),
        Blend(amount=0.25, noise="fixed"),
        Restyle("a fox", "a dog", 0.3),
        Img2img("a fox", "a dog", strength=0.4),
        Edit("a fox", rounds=2),
        Edit(),
        Upscale(),
    ],
    ids=lambda task: task.operation,
)
def test_a_recipe_is_the_task_that_it_was_written_for(task: Any) -> None:
    stages = {"decoder": Settings("ddim", 9, 1.5), "upsampler": Settings("heun", 9, 1.5)}
    recipe = Recipe(
        prompt=task.prompt, negative=task.negative, seed=5, size=64, stages=stages, model="m", version="1",
        background=task.background, operation=task.operation, options=task.options,
    )  # fmt: skip
    again = Recipe.from_json(recipe.to_json()).request()
    assert type(again) is type(task) and again.options == task.options
    for name in ("prompt", "negative", "background"):
        assert getattr(again, name) == getattr(task, name)
    assert again.seed == 5
    assert again.steps == 9, "whatever the model's settings are by then"


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "paint"},
        {"operation": 3},
        {"operation": ["vary"]},
        {"options": {"n": 64}},
        {"options": {"eta": 7}},
        {"options": {"x": 1}},
        {"options": 3},
        {"options": {1: 2}},
        {"sources": 3},
        {"sources": [3]},
        {"sources": "text"},
    ],
)
def test_a_strange_recipe_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    values = Recipe("", 5, 64, {"decoder": Settings("ddim", 9)}, "m", "1", operation="vary").to_json()
    with pytest.raises(SumiError) as caught:
        Recipe.from_json(values | changes)
    assert "\n" not in str(caught.value)


def test_every_operation_has_a_method_and_knows_how_many_pictures(tiny: Sumi, disc: Image.Image) -> None:
    for name, kind in TASKS.items():
        assert callable(getattr(tiny, name)) and kind.__doc__
    for task, images in ((Vary(), 0), (Blend(), 1), (Edit(expand=(1, 0, 0, 0)), 3), (Upscale(), 2)):
        with pytest.raises(SumiError, match="is done to"):
            tiny.stream(task, *[disc] * images)
