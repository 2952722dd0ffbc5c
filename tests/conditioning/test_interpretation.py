"""Prompts by the shipped model's vocabulary: what is known is drawn, what is near stands in, the rest is named."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sumi
from sumi.conditioning import Interpretation, Lexicon, interpret
from sumi.conditioning.english import english
from sumi.conditioning.spelling import correct_spelling

RECORD = json.loads((Path(sumi.__file__).parent / "models/sticker/vocabulary.json").read_text("utf-8"))
LEXICON = Lexicon(RECORD)


def drawn(prompt: str) -> str | None:
    read = interpret(prompt, LEXICON)
    return read.drawn_as if read.known else None


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("a cute cat", "drawn as: a cat. Not known: cute"),
        ("a photo of a cat", "drawn as: a cat. Not known: photo"),
        ("draw me a cat", "drawn as: a cat"),
        ("a cat, digital art", "drawn as: a cat. Not known: digital art"),
        ("a cat sitting on a sofa", "drawn as: a cat on a sofa. Not known: sitting"),
        ("a catt", "drawn as: a cat (cat for catt)"),
        ("a golden crown", "drawn as: a yellow crown (yellow for golden)"),
        ("seven stars", "drawn as: six stars (six for seven)"),
        ("7 stars", "drawn as: six stars (six for 7)"),
        ("a flower", "drawn as: a tulip (tulip for flower)"),
        ("cats", "drawn as: two cats"),
        ("a happy cat", "drawn as: a cat. Not known: happy"),
        ("a dark-skinned cat", "drawn as: a cat. Not known: dark skin"),
        (
            "three small fluffy terriers and a sedan",
            "drawn as: three small dogs and a car (dog for terriers, car for sedan). Not known: fluffy",
        ),
        ("a snowman without a carrot", "drawn as: a snowman. Not known: without a carrot"),
        ("a cat with no hat or scarf", "drawn as: a cat. Not known: no hat or scarf"),
        ("a dog but no fox, and an owl", "drawn as: a dog and an owl. Not known: no fox"),
        ("strawberry ice cream", "drawn as: an ice cream (ice cream for strawberry ice cream)"),
        ("bread and butter", "drawn as: bread. Not known: butter"),
        ("🦊", "drawn as: a fox"),
        ("two 🐶 playing", "drawn as: a dog face. Not known: playing"),
        ("a woman reading a book", "drawn as: a book. Not known: reading, woman"),
        ("a fox, oil painting, blue background", "drawn as: a fox on a blue background. Not known: oil painting"),
        ("a rocket going to the moon", "drawn as: a rocket and a moon. Not known: going"),
        (
            "sketch of an elefant",
            "drawn as: a pencil drawing of an elephant (pencil drawing for sketch, elephant for elefant)",
        ),
    ],
)  # fmt: skip
def test_interpret_notes_what_is_drawn_and_what_is_unknown(prompt: str, note: str) -> None:
    assert interpret(prompt, LEXICON).note == note


@pytest.mark.parametrize(
    "prompt",
    [
        "a red fox", "A Red Fox.", "cat", "red fox, pixel art", "three cups of coffee", "a watercolour of an owl",
        "a woman farmer with dark skin", "a dark-skinned male chef", "a fox wearing a top hat", "an outlined red star",
        'the word "HI" in red letters', "a cat to the left of a dog on a blue background", "grapes", "a T-rex",
        "a panda on a transparent background", "a red circle touching a blue square", "a neon fox", "a hot dog",
    ],
)  # fmt: skip
def test_interpret_keeps_a_prompt_of_taught_words(prompt: str) -> None:
    read = interpret(prompt, LEXICON)
    assert (read.drawn_as, read.note) == (prompt, None)


@pytest.mark.parametrize(
    "prompt",
    [
        "york",
        "guinea pig",
        "a man artist with medium skin",
        "👨🏽‍🎨",
        "an old man",
        "xqzzt",
        "一只狐狸",
        "watercolour",
        "red",
    ],
)
def test_interpret_refuses_instead_of_guessing(prompt: str) -> None:
    read = interpret(prompt, LEXICON)
    assert not read.known and read.drawn_as == prompt
    assert len(set(read.suggestions)) == 3 and all(drawn(text) == text for text in read.suggestions)


def test_interpret_does_not_know_held_out_things() -> None:
    held_out = RECORD["held_out"]
    assert len(held_out) == 14 and not set(held_out) & set(LEXICON.things)
    for name in held_out:
        assert drawn(f"a {name}") != f"a {name}", name
    assert drawn("a raccoon") is None and drawn("a kimono") is None and drawn("a dress") is None
    assert "a panda" in interpret("a raccoon", LEXICON).suggestions, "the nearest in meaning are suggested"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("catt", "cat"), ("elefant", "elephant"), ("giraff", "giraffe"), ("pengiun", "penguin"), ("gutar", "guitar"),
        ("rockett", "rocket"), ("buterfly", "butterfly"), ("york", None), ("forest", None), ("smoke", None),
        ("fork", None), ("queen", None), ("bot", None), ("abcdefgh", None), ("mose", None),
    ],
)  # fmt: skip
def test_correct_spelling_changes_only_near_misspellings(word: str, meant: str | None) -> None:
    assert correct_spelling(word, LEXICON.spellings, english().is_word) == meant


@pytest.mark.parametrize(
    ("noun", "kind"),
    [
        ("terrier", "dog"), ("sedan", "car"), ("oak tree", "tree"), ("ukulele", "guitar"), ("sparrow", "bird"),
        ("cobra", "snake"), ("limousine", "car"), ("cheesecake", "cake"), ("wolves", "wolf"), ("geese", "swan"),
        ("house cat", "cat"), ("monkey wrench", "wrench"), ("apple pie", "pie"), ("tea pot", "teapot"),
        ("teddybear", "teddy bear"),
    ],
)  # fmt: skip
def test_interpret_replaces_a_noun_by_what_it_is_a_kind_of(noun: str, kind: str) -> None:
    assert (drawn(noun) or "").split(" ", 1)[1] in (kind, LEXICON.plural(kind))


def test_interpret_draws_scenery_only_where_a_prompt_names_nothing_else() -> None:
    assert drawn("a forest") == "a tree" and drawn("a tent in the forest") == "a tent"


WORDS = st.sampled_from(
    sorted(
        {
            *RECORD["nouns"],
            *RECORD["colours"],
            *RECORD["relations"],
            *RECORD["counts"],
            "a",
            "the",
            "and",
            ",",
            "cute",
            "cats",
            "golden",
            "dark skin",
            "background",
            "elefant",
            '"HI"',
            "🦊",
            "woman",
            "watercolour",
        }
    )
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12).map(" ".join))
def test_interpret_of_an_interpretation_changes_nothing(prompt: str) -> None:
    read = interpret(prompt, LEXICON)
    again = interpret(read.drawn_as, LEXICON)
    assert not read.known or (again.drawn_as == read.drawn_as and again.note is None), (read, again)
    assert Interpretation.from_json(json.loads(json.dumps(read.to_json()))) == read


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_interpret_accepts_any_text(prompt: str) -> None:
    interpret(prompt, LEXICON)
    interpret(prompt, Lexicon.of_words(("red", "fox")))
    assert interpret(prompt, Lexicon({})).note is None


def test_interpret_of_a_negation_neither_draws_nor_suggests_the_thing() -> None:
    read = interpret("a lady without a scarf", LEXICON)
    assert not read.known and not any("scarf" in text for text in read.suggestions)


def test_interpret_of_a_list_in_the_dictionary_draws_its_known_things() -> None:
    read = interpret("fish and chips", LEXICON)
    assert read.known and read.unknown == () and {"fish", "chips"} <= set(read.drawn_as.split())


@pytest.mark.parametrize(
    ("prompt", "suggested"), [("a coffee shop", "a cup of coffee"), ("the Eiffel Tower", "a radio tower")]
)
def test_suggestions_begin_with_things_that_share_a_word_with_the_prompt(prompt: str, suggested: str) -> None:
    assert interpret(prompt, LEXICON).suggestions[0] == suggested


@pytest.mark.parametrize(
    ("prompt", "drawn_as"),
    [("3 red foxes", "three red foxes"), ("1 fox", "a fox"), ("two foxes", "two foxes")],
)
def test_interpret_writes_digits_as_number_words(prompt: str, drawn_as: str) -> None:
    assert interpret(prompt, LEXICON).drawn_as == drawn_as
