"""`--balance`: each picture has words of its own, said in its recipe, and is drawn as those words are."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import pytest
from same_picture import ROUNDING, apart

from sumi.conditioning import Lexicon, balance_people, interpret
from sumi.pipelines import Request
from sumi.pipelines.recipe import Recipe
from sumi.systems.unclip.artist import Sumi

LEXICON = Lexicon(json.loads((resources.files("sumi") / "models/sticker/vocabulary.json").read_text("utf-8")))


@pytest.fixture
def knowing(tiny: Sumi) -> Sumi:
    """The tiny model, which reads prompts by the words of Sumi's own."""
    return replace(tiny, lexicon=LEXICON)


def test_each_picture_is_that_of_its_own_words(knowing: Sumi) -> None:
    pictures = knowing.generate("a chef", n=4, seed=3, balance=True)
    assert [picture.seed for picture in pictures] == [3, 4, 5, 6]
    for picture in pictures:
        read = balance_people(interpret("a chef", LEXICON), LEXICON, picture.seed)
        assert picture.recipe.interpretations["prompt"] == read.to_json() and picture.recipe.prompt == "a chef"
        assert picture.recipe.options == {"balance": True} and "for balance" in (picture.recipe.note or "")
        alone = knowing.generate(read.drawn_as, seed=picture.seed)[0]
        assert apart(alone.image, picture.image) <= ROUNDING
    assert any("such as: man and medium dark skin" in note for note in pictures.notes)


def test_a_balanced_picture_is_drawn_again_with_the_same_words(knowing: Sumi) -> None:
    (picture,) = knowing.generate("a chef", seed=8, balance=True)
    recipe = Recipe.from_json(json.loads(json.dumps(picture.recipe.to_json())))
    (again,) = [event for event in knowing.replay(recipe) if hasattr(event, "recipe")]
    assert apart(again.image, picture.image) <= ROUNDING
    assert again.recipe.interpretations == picture.recipe.interpretations


def test_each_picture_is_the_best_of_its_own_candidates(knowing: Sumi) -> None:
    pictures = knowing.generate("a chef", n=3, seed=20, best_of=7, balance=True)
    assert [(picture.seed - 20) // 2 for picture in pictures] == [0, 1, 2], "two candidates each, in their order"
    added = [picture.recipe.interpretations["prompt"]["added"] for picture in pictures]
    assert [tuple(words) for words in added] == [
        balance_people(interpret("a chef", LEXICON), LEXICON, 20 + number).added for number in range(3)
    ]


def test_without_people_nothing_changes(tiny: Sumi) -> None:
    plain, same = (tiny.generate("a red fox", n=2, seed=5, balance=choice) for choice in (False, True))
    assert all(apart(one.image, other.image) <= ROUNDING for one, other in zip(plain, same, strict=True))
    assert any("balance adds nothing" in note for note in same.notes) and not plain.notes
    assert same[0].recipe.interpretations == {}


def test_every_picture_has_another_random_seed_without_one(knowing: Sumi) -> None:
    works = knowing.balanced(Request("a chef", n=3, balance=True))
    assert works[1].seed == (works[0].seed or 0) + 1 and [work.n for work in works] == [1, 1, 1]
