"""Captions say what is true, in English, and quote what is written."""

from __future__ import annotations

import random
import re

import pytest

from sumi.data.generator import Scenes
from sumi.data.grammar import FORMS, caption, noun_phrase
from sumi.data.scene import COLOURS, Background, Lettering, Place, Relation, Scene, Shape, Thing

HERE = (Place(0.5, 0.5, 0.8),)


def names(concept: str) -> tuple[str, ...]:
    return (concept,)


def said(scene: Scene, form: str = "complete", tries: int = 40) -> list[str]:
    """Forty ways to say a scene."""
    return [caption(scene, random.Random(k), names, form) for k in range(tries)]


@pytest.mark.parametrize(
    ("noun", "adjectives", "count", "phrase"),
    [
        ("fox", ["red"], 1, "a red fox"),
        ("umbrella", [], 1, "an umbrella"),
        ("umbrella", ["blue"], 2, "two blue umbrellas"),
        ("fox", ["orange"], 1, "an orange fox"),
        ("glasses", ["red"], 1, "red glasses"),
        ("fish", ["small", "red"], 3, "three small red fish"),
    ],
)
def test_noun_phrases(noun: str, adjectives: list[str], count: int, phrase: str) -> None:
    assert noun_phrase(noun, adjectives, count) == phrase


def test_a_plain_fox_is_a_fox() -> None:
    scene = Scene("single", (Thing("fox", "noto", HERE),))
    assert "a fox" in said(scene) and set(said(scene, "keywords")) == {"fox"}
    assert all("fox" in text and not re.search("red|noto|background$", text.replace("transparent background", ""))
               for text in said(scene))  # fmt: skip


def test_complete_captions_say_everything() -> None:
    red = Thing("fox", "noto", HERE, colour="red", size="small")
    scene = Scene("single", (red,), background=Background("blue", (0, 0, 255)), style="pixel art")
    for text in said(scene):
        assert re.search("small|tiny|little", text) and "red fox" in text
        assert "blue background" in text and "pixel art" in text


def test_a_relation_keeps_its_order() -> None:
    things = (Thing("cat", "noto", HERE, "red"), Thing("dog", "noto", HERE, "blue"))
    for text in said(Scene("pair", things, relation=Relation("left of", 0, 1))):
        assert re.fullmatch(r"a red cat .*left.* a blue dog(,| with| on)?( a)?( transparent background)?", text)
    assert said(Scene("pair", things, relation=Relation("below", 0, 1)), "keywords")[0] == "red cat below blue dog"


def test_letters_are_always_quoted() -> None:
    scene = Scene("word", lettering=Lettering("SUN", Place(0.5, 0.5, 0.8), 0.3, "blue"))
    for form in FORMS:
        assert all('"SUN"' in text for text in said(scene, form))


def test_a_thing_can_be_inside_a_figure() -> None:
    circle = Shape("circle", Place(0.5, 0.5, 0.9), "blue")
    scene = Scene("pair", (Thing("cat", "noto", HERE),), (circle,), relation=Relation("inside", 0, 0))
    assert {"a cat inside a blue circle", "a cat in a blue circle"} <= set(said(scene))
    assert said(scene, "keywords")[0] == "cat inside blue circle"


def test_people_have_tones_and_genders() -> None:
    chef = Thing("chef", "noto", HERE, gender="woman", tone="dark")
    texts = said(Scene("person", (chef,)))
    assert any("dark-skinned" in text for text in texts) and any("with dark skin" in text for text in texts)
    assert all(re.search("woman|female", text) for text in texts)


def test_no_caption_lies_about_colour_or_ground(scenes: Scenes) -> None:
    for index in range(1500):
        scene = scenes.scene(index)
        text = re.sub('"[A-Z]+"', "", scenes.caption(scene, index)).replace("grey", "gray")
        true = {thing.colour for thing in scene.things} | {shape.colour for shape in scene.shapes}
        true |= {scene.lettering.colour} if scene.lettering else set()
        true |= {scene.background.colour} if scene.background else set()
        # The style "with a white outline" is no colour of anything.
        text = re.sub("white (outline|border)", "", text)
        assert {colour for colour in COLOURS if re.search(rf"\b{colour}\b", text)} <= true, text
        assert scene.background is None or "transparent" not in text, text
        assert len(text.split()) <= 24


def test_the_forms_have_their_shares(scenes: Scenes) -> None:
    """Keywords have no article; about 15% of plain singles are so."""
    fox = Scene("single", (Thing("fox", "noto", HERE),))
    bare = sum(caption(fox, random.Random(k), names) == "fox" for k in range(2000)) / 2000
    assert bare == pytest.approx(0.15, abs=0.03)


def test_gender_takes_the_place_of_the_word_person_in_a_name() -> None:
    redhead = Scene("person", (Thing("person with red hair", "noto", HERE, gender="woman", tone="dark"),))
    for form in FORMS:
        for text in said(redhead, form):
            assert "woman" in text and "with red hair" in text and not re.search(r"\bperson\b|female|woman woman", text)
    wrestlers = Scene("person", (Thing("people wrestling", "noto", HERE, gender="man"),))
    assert all("men wrestling" in text and "man " not in text for text in said(wrestlers))
    assert all("person" in text for text in said(Scene("person", (Thing("person with red hair", "noto", HERE),))))
