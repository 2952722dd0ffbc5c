"""A brief says thing by thing what its caption asks for, in the caption's own words."""

from __future__ import annotations

import pytest

from sumi.data import grammar
from sumi.data.generator import Mix, Scenes
from sumi.data.layout_captions import layout_caption
from sumi.data.scene import Background, Lettering, Place, Relation, Scene, Shape, Thing

HERE = Place(0.5, 0.5, 0.8)
FOX = Thing("fox", "noto", (Place(0.2, 0.5, 0.3), Place(0.7, 0.5, 0.3)), colour="red", size="small")


def names(concept: str) -> tuple[str, ...]:
    return (concept,)


@pytest.mark.parametrize(
    ("thing", "style", "said"),
    [
        (FOX, None, "a red fox"),
        (FOX, "pixel art", "pixel art of a red fox"),
        (Thing("glasses", "noto", (HERE,)), None, "glasses"),
        (Thing("farmer", "noto", (HERE,), gender="woman", tone="dark"), None, "a female farmer with dark skin"),
        (Shape("circle", HERE, "blue", filled=False), None, "an outlined blue circle"),
        (Lettering("HI", HERE, 0.2, "green"), None, 'the word "HI" in green letters'),
    ],
)
def test_one_thing_is_said_as_if_it_stood_alone_once(
    thing: Thing | Shape | Lettering, style: str | None, said: str
) -> None:
    crowd = Scene("pair", (FOX, FOX), (Shape("star", HERE, "gray"),), relation=Relation("on", 0, 1), style=style)
    assert grammar.describe_thing(crowd, names, thing) == said


def test_what_is_ridden_lies_behind_its_rider() -> None:
    rider, ridden = Thing("fox", "noto", (HERE,)), Thing("car", "noto", (HERE,))
    scene = Scene("accessory", (rider, ridden), relation=Relation("riding", 0, 1))
    assert scene.back_to_front == (ridden, rider)


def test_briefs_are_numbered_and_the_same_for_ever(scenes: Scenes) -> None:
    for number in range(40):
        told, scene = layout_caption(scenes, number), scenes.scene(number)
        assert told == layout_caption(scenes, number)
        spots = [place for wanted in told.wanted for place in wanted.places]
        things = [place for thing in scene.things for place in thing.places]
        assert len(spots) == len(things) + len(scene.shapes) + (scene.lettering is not None)
        assert all(place in spots for place in things)


def test_what_a_caption_leaves_out_the_brief_does_not_want(scenes: Scenes) -> None:
    mix = Mix.sticker().only("pair")
    pairs = Scenes(scenes.atlas, scenes.vocabulary, mix, seed=3)
    coloured = [layout_caption(pairs, number) for number in range(200)]
    for told in coloured:
        for wanted in told.wanted:
            for word in wanted.phrase.split():
                plain = word.strip('"').lower()
                assert plain in ("a", "an", "of", "the") or plain in told.caption.lower().replace("grey", "gray") or (
                    any(style.split()[0] in wanted.phrase for style in ("pencil", "watercolour", "neon", "silhouette"))
                    or "outline" in wanted.phrase
                    or "style" in wanted.phrase
                ), (told.caption, wanted.phrase)  # fmt: skip


def test_a_ground_is_wanted_only_where_it_is_said(scenes: Scenes) -> None:
    ground = Background("blue", (51, 102, 255))
    said = Scene("single", (Thing("fox", "noto", (HERE,)),), background=ground)
    assert grammar.describe(said, __import__("random").Random(0), names, "complete")[1].background == ground
    told = [layout_caption(scenes, number) for number in range(200)]
    assert any(one.ground for one in told)
    for one in told:
        assert one.ground is None or "background" in one.caption
