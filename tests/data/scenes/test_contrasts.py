"""Contrasts: scenes in groups that differ by one fact each, and that the split admits."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sumi.data.atlas import Atlas
from sumi.data.contrasts import contrast, contrasts
from sumi.data.generator import Mix, Scenes
from sumi.data.scene import Lettering, Place, Relation, Scene, Thing
from sumi.data.vocabulary import Vocabulary

GROUP = 4
LEFT, RIGHT = Place(0.25, 0.5, 0.4), Place(0.75, 0.52, 0.4)
FOX, CAR = Thing("fox", "noto", (LEFT,), "red"), Thing("car", "noto", (RIGHT,), "blue")


@pytest.fixture(scope="module")
def scenes(atlas: Atlas, vocabulary: Vocabulary) -> Scenes:
    """Scenes in groups of four."""
    return Scenes(atlas, vocabulary, Mix.contrasting(), seed=5, group=GROUP)


def facts(scene: Scene) -> Counter[object]:
    """Return everything that is said of a scene, each fact for itself."""
    found: Counter[object] = Counter((scene.relation and scene.relation.name, scene.style, scene.background))
    for number, thing in enumerate(scene.things):
        found.update(("concept", number, thing.concept) for _ in range(1))
        found.update([("colour", number, thing.colour), ("count", number, thing.count)])
        found.update([("gender", number, thing.gender), ("tone", number, thing.tone)])
    return found


def made(scene: Scene, kind: str, scenes: Scenes, seed: int = 0) -> Scene:
    """Return the contrast of a scene of one kind."""
    found = contrast(scene, kind, scenes._composer, random.Random(seed))
    assert found is not None
    return found


def test_group_is_a_scene_and_its_contrasts(scenes: Scenes) -> None:
    whole = 0
    for first in range(0, 60 * GROUP, GROUP):
        scene = scenes.scene(first)
        for index in range(first + 1, first + GROUP):
            other = scenes.scene(index)
            assert other == scenes.scene(index) and not scenes.rule.held_out_in(other)
            different = facts(scene) - facts(other)
            whole += 1 <= sum(different.values()) <= 2 and other.kind == scene.kind
    assert whole > 0.8 * 60 * (GROUP - 1), "the rest have no contrast and are scenes of their own"


def test_group_of_one_is_the_scene_as_ever(atlas: Atlas, vocabulary: Vocabulary, scenes: Scenes) -> None:
    alone = Scenes(atlas, vocabulary, Mix.contrasting(), seed=5)
    assert [alone.scene(k) for k in range(0, 40, GROUP)] == [scenes.scene(k) for k in range(0, 40, GROUP)]
    assert scenes.record()["group"] == GROUP and alone.record()["group"] == 1


def test_captions_of_a_group_tell_its_scenes_apart(scenes: Scenes) -> None:
    for first in range(0, 40 * GROUP, GROUP):
        group = [scenes.scene(index) for index in range(first, first + GROUP)]
        captions = [scenes.caption(scene, first, "complete") for scene in group]
        apart = len({tuple(sorted(facts(scene).items(), key=repr)) for scene in group})
        assert len(set(captions)) >= apart, captions


def test_colour_contrast_changes_one_colour(scenes: Scenes) -> None:
    other = made(Scene("single", (FOX,)), "colour", scenes)
    assert other.things[0].concept == "fox" and other.things[0].colour not in ("red", None)


def test_thing_contrast_keeps_colour_artist_and_place(scenes: Scenes) -> None:
    (thing,) = made(Scene("single", (FOX,)), "thing", scenes).things
    assert thing.concept != "fox" and (thing.colour, thing.hand, thing.places) == (FOX.colour, FOX.hand, FOX.places)


def test_swap_contrast_exchanges_colours_else_places(scenes: Scenes) -> None:
    one, other = made(Scene("pair", (FOX, CAR)), "swap", scenes).things
    assert (one.concept, one.colour, other.concept, other.colour) == ("fox", "blue", "car", "red")
    bare = (Thing("fox", "noto", (LEFT,)), Thing("car", "noto", (RIGHT,)))
    turned = made(Scene("pair", bare, relation=Relation("left of", 0, 1)), "swap", scenes)
    assert turned.relation == Relation("right of", 0, 1)
    assert [thing.places[0] for thing in turned.things] == [Place(0.75, 0.5, 0.4), Place(0.25, 0.52, 0.4)]


def test_count_contrast_changes_the_count(scenes: Scenes) -> None:
    for seed in range(12):
        three = Scene("count", (Thing("owl", "noto", (LEFT,) * 3),))
        (thing,) = made(three, "count", scenes, seed).things
        assert thing.concept == "owl" and thing.count in {1, 2, 4, 5, 6}


def test_person_contrast_changes_tone_or_gender(scenes: Scenes) -> None:
    chef = Scene("person", (Thing("chef", "noto", (LEFT,), gender="woman", tone="dark"),))
    for seed in range(12):
        (thing,) = made(chef, "person", scenes, seed).things
        assert thing.concept == "chef" and (thing.gender == "woman") != (thing.tone == "dark")


def test_contrasts_of_what_is_bound_or_written_are_few() -> None:
    worn = Scene("accessory", (FOX, Thing("crown", "noto", (LEFT,))), relation=Relation("wearing", 0, 1))
    assert contrasts(worn) == ("colour",)
    assert contrasts(Scene("word", (FOX,), lettering=Lettering("HI", LEFT, 0.2, "red"))) == ()
    assert contrasts(Scene("bongard")) == ()
