"""The layout planner learns who stands where, and says nothing that nobody asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sumi.autoregressive import END, SYMBOLS, LayoutBox, LayoutItem, SceneLayout
from sumi.conditioning import CLIP, WordTokenizer
from sumi.data.layout_captions import LayoutCaption, LayoutPhrase
from sumi.data.scene import Place
from sumi.nn import LayoutPlannerNetwork
from sumi.pipelines import EncodedText
from sumi.systems.unclip.layout import LayoutPlanner, allowed_words, composition
from sumi.systems.unclip.layout_objective import (
    LayoutPlannerObjective,
    arrangement_of,
    connecting_words,
    encode_layout_captions,
)

from .toys import taught

WORDS = WordTokenizer(("a", "and", "apple", "apples", "art", "car", "cars", "fox", "of", "pixel", "red", "three"), 12)
LEFT, RIGHT, TOP = Place(0.25, 0.5, 0.4), Place(0.75, 0.5, 0.4), Place(0.5, 0.2, 0.4)
BRIEFS = (
    LayoutCaption("a fox and a car", (LayoutPhrase("a fox", (LEFT,)), LayoutPhrase("a car", (RIGHT,))), None),
    LayoutCaption("a car and a fox", (LayoutPhrase("a car", (LEFT,)), LayoutPhrase("a fox", (RIGHT,))), None),
    LayoutCaption("three apples", (LayoutPhrase("an apple", (LEFT, RIGHT, TOP)),), None),
    LayoutCaption("red", (), None),
)


def word(text: str) -> int:
    return WORDS.ids(text)[0]


def clip() -> CLIP:
    torch.manual_seed(0)
    image = {
        "in_channels": 4,
        "size_px": 8,
        "patch": 2,
        "channels": [8],
        "blocks": [1],
        "width": 8,
        "depth": 1,
        "heads": 1,
    }
    text = {"vocabulary_size": WORDS.size, "context": 12, "width": 16, "depth": 1, "heads": 2}
    return CLIP(8, image, text).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def planner() -> tuple[LayoutPlanner, CLIP]:
    seer = clip()
    ids, rows = encode_layout_captions(BRIEFS[:3], WORDS, 32)
    torch.manual_seed(1)
    network = LayoutPlannerNetwork(WORDS.size, SYMBOLS, 12, 16, 32, 32, 2, 2)
    network.connecting_words[WORDS.ids("a an")] = 1
    assert taught(LayoutPlannerObjective(network, seer, ids, rows), 300, batch_size=16, lr=5e-3) < 0.05
    return LayoutPlanner(network, WORDS), seer


def read(seer: CLIP, *prompts: str) -> EncodedText:
    ids = WORDS.encode(prompts)
    return EncodedText(*seer.encode_text(ids), ids)


def test_what_was_taught_is_arranged_as_it_was_taught(planner: tuple[LayoutPlanner, CLIP]) -> None:
    arrange, seer = planner
    for brief, made in zip(
        BRIEFS[:3], arrange(read(seer, *(brief.caption for brief in BRIEFS[:3])), range(3)), strict=True
    ):
        assert [layer.prompt for layer in made.layers] == [wanted.phrase for wanted in brief.wanted]
        for layer, wanted in zip(made.layers, brief.wanted, strict=True):
            found = torch.tensor(layer.spots)
            asked = torch.tensor([(place.x, place.y, place.side) for place in wanted.places])
            torch.testing.assert_close(found, asked, atol=0.02, rtol=0)


def test_one_text_serves_all_seeds(planner: tuple[LayoutPlanner, CLIP]) -> None:
    arrange, seer = planner
    assert len(arrange(read(seer, "a fox and a car"), range(5))) == 5


def test_words_of_a_brief_are_ids_and_back() -> None:
    made = arrangement_of(BRIEFS[2], WORDS)
    assert WORDS.text(made.items[0].words) == "an apple", "what was not taught is bytes"
    assert len(made.items[0].spots) == 3


def test_what_is_too_long_is_left_out_and_the_rest_filled_with_ends() -> None:
    ids, rows = encode_layout_captions(BRIEFS, WORDS, 16)
    assert ids.shape == (3, 12) and rows.shape == (3, 16), "three apples take more than 16 tokens"
    assert rows[2].tolist() == [END] * 16, "a brief that wants nothing"


def test_glue_is_what_arrangements_say_and_captions_do_not() -> None:
    ids, rows = encode_layout_captions(BRIEFS, WORDS, 32)
    found = connecting_words(ids, rows, WORDS.size)
    assert found[word("apple")] == 1 and found[word("fox")] == 0 and found[word("apples")] == 0
    often = np.repeat(ids, 1000, axis=0), np.repeat(rows, 1000, axis=0)
    assert torch.equal(connecting_words(*often, WORDS.size), found), "a share, not a number"


def test_only_words_of_the_prompt_may_be_said() -> None:
    silent = torch.zeros(WORDS.size)
    said = allowed_words(WORDS.ids("three cars and zebras"), silent, WORDS)
    assert bool(said[word("cars")]) and bool(said[word("car")]), "a plural's singular too"
    assert not said[word("fox")] and not said[word("apple")]
    assert bool(said[WORDS.ids("z")[0]]), "letters of what was never taught"
    assert bool(allowed_words([], torch.ones(WORDS.size), WORDS).all())


SPOT = (LayoutBox(0.5, 0.5, 0.5),)


def test_letters_in_quotes_are_copied() -> None:
    wrong = SceneLayout((LayoutItem(tuple(WORDS.ids('red "FXO"')), SPOT),))
    made = composition(wrong, WORDS.ids('a car and red "FOX"'), torch.zeros(WORDS.size), WORDS)
    assert made.layers[0].prompt == 'red "FOX"'
    two = composition(wrong, WORDS.ids('"A" and "B"'), torch.zeros(WORDS.size), WORDS)
    assert two.layers[0].prompt == 'red "FXO"', "of two nobody knows which is meant"


def test_a_thing_of_glue_alone_is_no_thing() -> None:
    silent: Tensor = torch.zeros(WORDS.size)
    silent[[word("a"), word("of"), word("pixel"), word("art")]] = 1
    both = SceneLayout(
        (LayoutItem(tuple(WORDS.ids("pixel art of a")), SPOT), LayoutItem(tuple(WORDS.ids("pixel art of a fox")), SPOT))
    )
    assert [layer.prompt for layer in composition(both, [], silent, WORDS).layers] == ["pixel art of a fox"]
    assert not composition(replace(both, items=both.items[:1]), [], silent, WORDS).composed
