"""Prompts by the wide vocabulary: people, professions, tones, unknown nouns, and the exam's everyday prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sumi.conditioning import Lexicon, interpret
from sumi.conditioning.english import english
from sumi.data.entries import named_entries
from sumi.data.taught import record
from sumi.evaluation.everyday_exam import REFUSED, EverydayPrompt, load_everyday_prompts

VOCABULARY = json.loads((Path(__file__).parent / "wide_vocabulary.json").read_text("utf-8"))
LEXICON = Lexicon(record(VOCABULARY["concepts"], VOCABULARY["roles"], [], ["noto"]))


def note(prompt: str) -> str:
    read = interpret(prompt, LEXICON)
    return (read.note or "") if read.known else REFUSED


@pytest.mark.parametrize("asked", load_everyday_prompts("wide"), ids=lambda asked: asked.prompt)
def test_interpret_notes_every_everyday_prompt_rightly(asked: EverydayPrompt) -> None:
    assert note(asked.prompt) == asked.note
    assert set(asked.things) <= set(VOCABULARY["concepts"])


@pytest.mark.parametrize(
    ("emoji", "drawn_as"),
    [
        ("🥇", "a first place medal"), ("🏺", "a vase"), ("🚡", "a cable car"),
        ("🐗", "a wild boar"), ("💂", "a royal guard"), ("🧱", "a brick wall"), ("🥏", "a frisbee"),
        ("🐱", "a cat face"), ("💂🏿", "a royal guard with dark skin"), ("™️", "a trademark sign"),
    ],
)  # fmt: skip
def test_interpret_reads_emoji_as_the_concepts_of_the_wide_list(emoji: str, drawn_as: str) -> None:
    assert interpret(emoji, LEXICON).drawn_as == drawn_as


def test_every_emoji_of_an_icon_that_the_lists_name_is_a_known_thing() -> None:
    names = {entry.names[0]: icon for icon, entry in named_entries().items()}
    taught = names.keys() & VOCABULARY["concepts"].keys() - set(LEXICON.record["held_out"])
    asked = {emoji: name for emoji, name in english().emoji.items() if name in taught}
    unknown = {emoji: name for emoji, name in asked.items() if not interpret(emoji, LEXICON).known}
    assert len(asked) > 800 and unknown == {}


def test_the_wide_list_has_the_prompts_of_the_everyday_one() -> None:
    wide, everyday = (load_everyday_prompts(name) for name in ("wide", "everyday"))
    assert [asked.prompt for asked in wide] == [asked.prompt for asked in everyday]


@pytest.mark.parametrize(
    ("prompt", "drawn_as"),
    [
        ("a woman doctor with dark skin", "a woman doctor with dark skin"), ("an old man", "an old man"),
        ("a baby", "a baby"), ("a teacher", "a teacher"), ("two teachers", "two teachers"),
        ("a black woman", "a woman with dark skin"), ("a white male doctor", "a male doctor with light skin"),
        ("a black cat", "a black cat"), ("a man with red hair", "a man with red hair"),
        ("a woman with brown hair", "a woman"), ("a girl with blue hair and a red dog", "a girl and a red dog"),
        ("a queen", "a woman with a crown"), ("my dad", "a man"), ("a physicist", "a scientist"),
        ("a ballerina", "a ballerina"), ("a pirate", "a person"), ("👩‍🏫", "a woman teacher"), ("people", "two people"),
        ("a firetruck", "a fire truck"), ("ice-cream", "ice-cream"), ("a girrafe", "a giraffe"),
    ],
)  # fmt: skip
def test_interpret_reads_people_compounds_and_misspellings(prompt: str, drawn_as: str) -> None:
    read = interpret(prompt, LEXICON)
    assert read.known and read.drawn_as == drawn_as


@pytest.mark.parametrize(
    ("noun", "kind"),
    [
        ("terrier", "dog"), ("rose bush", "rose"), ("oak tree", "tree"), ("plum", "peach"), ("mandarin duck", "duck"),
        ("daffodil", "blossom"), ("walrus", "seal"), ("clarinet", "flute"), ("clam", "oyster"), ("basil", "herb"),
        ("grapefruit", "tangerine"), ("hazelnut", "chestnut"), ("einstein", "scientist"), ("paris", "city"),
        ("ford", None), ("lincoln", None), ("justice", None), ("table", None),
    ],
)  # fmt: skip
def test_interpret_replaces_a_noun_by_its_nearest_concept_or_by_none(noun: str, kind: str | None) -> None:
    read = interpret(noun, LEXICON)
    assert (read.drawn_as if read.known else None) == (None if kind is None else LEXICON.singular(kind))


@pytest.mark.parametrize(
    ("prompt", "drawn_as"),
    [
        ("the letter A", 'the word "A" in black letters'), ("letter b in red", 'the word "B" in red letters'),
        ("the number 42", 'the word "42" in black letters'), ("7", 'the word "7" in black letters'),
        ("x", 'the word "X" in black letters'), ("the word hello", 'the word "HELLO" in black letters'),
        ("7 cats", "six cats"), ("a love letter", "a love letter"),
    ],
)  # fmt: skip
def test_interpret_reads_letters_and_digits_as_quoted(prompt: str, drawn_as: str) -> None:
    assert interpret(prompt, LEXICON).drawn_as == drawn_as
