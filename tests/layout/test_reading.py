"""Prompts read as scenes: things, counts and relations, in the words of a small vocabulary."""

from __future__ import annotations

import pytest

from sumi.conditioning import Lexicon, interpret
from sumi.data.taught import record
from sumi.layout import RelatedScene, SceneReader

NOUNS = ("cat", "dog", "elephant", "tree", "house", "box", "top hat", "crown", "sunglasses", "sofa", "star", "balloon")
LEXICON = Lexicon(record({noun: [noun] for noun in NOUNS}, (), [], ["noto"]))
READ = SceneReader(LEXICON)


def drawn(prompt: str) -> RelatedScene | None:
    return READ(interpret(prompt, LEXICON).drawn_as)


def summary(prompt: str) -> list[tuple[str, int]]:
    scene = drawn(prompt)
    assert scene is not None
    return [(thing.noun, thing.count) for thing in scene.things]


def relations(prompt: str) -> list[tuple[str, tuple[int, ...], int]]:
    scene = drawn(prompt)
    assert scene is not None
    return [(link.relation, link.things, link.owner) for link in scene.links]


def test_a_count_beside_a_relation_is_kept() -> None:
    assert summary("2 elephants under a tree") == [("elephant", 2), ("tree", 1)]
    assert summary("a cat next to three dogs") == [("cat", 1), ("dog", 3)]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a cat with a crown", [("wearing", (1,), 0)]),
        ("a cat in a top hat", [("wearing", (1,), 0)]),
        ("a cat in a box", [("inside", (1,), 0)]),
        ("a cat in a house", [("within", (1,), 0)]),
        ("a cat behind a tree", [("behind", (1,), 0)]),
        ("a cat in front of a house", [("in front of", (1,), 0)]),
        ("a dog between a tree and a house", [("between", (1, 2), 0)]),
        ("a cat between two stars", [("between", (1,), 0)]),
        ("a cat and a dog", [("beside", (1,), 0)]),
        ("a cat and a dog wearing a crown", [("beside", (1,), 0), ("wearing", (2,), 1)]),
        ("a cat wearing a crown and sunglasses", [("wearing", (1,), 0), ("wearing", (2,), 0)]),
        ("a cat wearing a crown and a dog", [("wearing", (1,), 0), ("beside", (2,), 0)]),
        ("a cat wearing a crown under a tree", [("wearing", (1,), 0), ("under", (2,), 0)]),
    ],
)
def test_relations_join_each_thing_to_what_is_before_it(
    prompt: str, found: list[tuple[str, tuple[int, ...], int]]
) -> None:
    assert relations(prompt) == found


@pytest.mark.parametrize(
    "prompt", ["a cat", "three cats", 'a cat and the word "HI"', "a cat with a dog", "a cat between a dog"]
)
def test_what_has_no_rule_is_left_to_the_planner(prompt: str) -> None:
    assert drawn(prompt) is None


def test_each_bearer_has_one_of_what_is_worn() -> None:
    assert summary("two cats wearing a top hat") == [("cat", 2), ("top hat", 2)]
    assert summary("two cats wearing crowns") == [("cat", 2), ("crown", 2)]


def test_things_keep_colours_and_styles_and_sizes_become_scales() -> None:
    scene = drawn("pixel art of a small red cat on a huge sofa")
    assert scene is not None
    assert [thing.prompt for thing in scene.things] == ["pixel art of a red cat", "pixel art of a sofa"]
    assert scene.things[0].scale < 1 < scene.things[1].scale


def test_captions_say_only_relations_that_were_taught() -> None:
    assert READ.caption("a cat behind a tree") == "a cat and a tree"
    assert READ.caption('the word "BEHIND" behind a tree') == 'the word "BEHIND" and a tree'
    own = Lexicon({**LEXICON.record, "relations": [*LEXICON.record["relations"], "behind"]})
    assert SceneReader(own).caption("a cat behind a tree") == "a cat behind a tree"


@pytest.mark.parametrize(
    ("prompt", "order"),
    [
        ("a cat wearing a crown", ["cat", "crown"]),
        ("a cat behind a tree", ["cat", "tree"]),
        ("a cat in front of a tree", ["tree", "cat"]),
        ("a cat on a sofa", ["sofa", "cat"]),
        ("a cat in a box", ["cat", "box"]),
        ("a cat in a house", ["house", "cat"]),
        ("a cat wearing a crown behind a tree", ["cat", "crown", "tree"]),
    ],
)
def test_what_is_behind_is_drawn_first(prompt: str, order: list[str]) -> None:
    scene = drawn(prompt)
    assert scene is not None
    assert [scene.things[place].noun for place in scene.back_to_front] == order
    ordered = scene.ordered(scene.back_to_front)
    assert [thing.noun for thing in ordered.things] == order and ordered.things[ordered.first].noun == "cat"
