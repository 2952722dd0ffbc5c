"""A plan and what a prompt says: the words win where the plan lacks something, or where a rule knows better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sumi.autoregressive import LayoutBox
from sumi.conditioning import Lexicon
from sumi.data.taught import record
from sumi.layout import Link, RelatedScene, SceneReader, SceneThing
from sumi.pipelines.layered_image import Composition, LayeredImage, LayerSpec
from sumi.pipelines.related import relate
from sumi.systems.unclip.artist import Sumi

LEFT, RIGHT = LayoutBox(0.25, 0.5, 0.4), LayoutBox(0.75, 0.5, 0.4)
PLANNED = Composition((LayerSpec("a cat", (LEFT,)), LayerSpec("a tree", (RIGHT,))), (0.0, 0.0, 1.0))


def scene(relation: str, cats: int = 1) -> RelatedScene:
    return RelatedScene((SceneThing("a cat", "cat", cats), SceneThing("a tree", "tree")), (Link(relation, (1,)),))


@pytest.mark.parametrize("relation", ["beside", "left of", "above"])
def test_a_plan_that_shows_the_scene_is_kept(relation: str) -> None:
    assert relate(PLANNED, scene(relation)) is PLANNED
    assert relate(PLANNED, None) is PLANNED


@pytest.mark.parametrize(("relation", "cats"), [("beside", 2), ("left of", 2), ("under", 1), ("behind", 1)])
def test_a_count_that_the_plan_drops_and_a_relation_with_a_rule_are_of_the_words(relation: str, cats: int) -> None:
    made = relate(PLANNED, scene(relation, cats))
    assert made.scene is not None and made.ground == PLANNED.ground
    assert sorted((layer.prompt, len(layer.spots)) for layer in made.layers) == [("a cat", cats), ("a tree", 1)]


def test_a_thing_that_the_plan_drops_is_drawn() -> None:
    made = relate(replace(PLANNED, layers=PLANNED.layers[:1]), scene("beside"))
    assert [layer.prompt for layer in made.layers] == ["a cat", "a tree"]


def test_the_plan_says_where_a_thing_is_usually_worn() -> None:
    planned = Composition(
        (LayerSpec("a cat", (LayoutBox(0.5, 0.5, 0.8),)), LayerSpec("a hat", (LayoutBox(0.3, 0.3, 0.2),)))
    )
    worn = RelatedScene((SceneThing("a cat", "cat"), SceneThing("a hat", "hat")), (Link("wearing", (1,)),))
    assert relate(planned, worn).usual[1] == pytest.approx((-0.25, -0.25, 0.25))
    away = replace(planned, layers=(planned.layers[0], LayerSpec("a hat", (LayoutBox(1.2, 0.5, 0.2),))))
    assert relate(away, worn).usual == {}


def block(top: int, left: int, high: int, wide: int) -> torch.Tensor:
    sticker = torch.zeros(4, 32, 32, dtype=torch.uint8)
    sticker[:, top : top + high, left : left + wide] = 255
    return sticker


def test_layers_are_settled_by_what_was_drawn() -> None:
    made = relate(PLANNED, scene("touching"))
    image = LayeredImage((block(4, 4, 8, 24), block(2, 10, 28, 8)), made).settled()
    alone = np.stack(
        [
            layer[3].numpy() > 128
            for _, layer in replace(
                image, composition=replace(made, ground=None, layers=image.composition.layers)
            ).layers()
        ]
    )  # type: ignore[union-attr]
    columns = [np.flatnonzero(one.any(axis=0)) for one in alone]
    assert abs(columns[1][0] - columns[0][-1]) <= 2


def test_no_layer_of_a_plan_is_cut_off() -> None:
    planned = Composition((LayerSpec("a cat", (LayoutBox(0.1, 0.5, 0.5),)), LayerSpec("a tree", (RIGHT,))))
    image = LayeredImage((block(4, 4, 8, 24), block(2, 10, 28, 8)), planned).settled()
    assert image.composition is not None
    assert image.composition.layers[0].spots[0].x == pytest.approx(0.25, abs=0.01)


def test_the_whole_way_draws_what_the_words_say(arranging: Sumi) -> None:
    lexicon = Lexicon(record({"fox": ["fox"], "dog": ["dog"]}, (), [], ["noto"]))
    artist = replace(arranging, pipeline=replace(arranging.pipeline, scenes=SceneReader(lexicon)))
    picture = artist.generate("two foxes behind a dog", seed=3)[0]
    assert [prompt for prompt, _ in picture.layers] == ["a fox", "a dog"]
