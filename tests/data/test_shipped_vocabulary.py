"""The model that comes with Sumi keeps its own vocabulary and its held-out questions, whatever is drawn beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sumi
from sumi.data.entries import everyday_entries
from sumi.data.facets import facets_of
from sumi.data.scene import COLOURS, STYLES
from sumi.data.split import Combination, Split, is_held_out
from sumi.data.words import table


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """What the model says it was taught."""
    record: dict[str, Any] = json.loads(
        (Path(sumi.__file__).parent / "models/sticker/vocabulary.json").read_text("utf-8")
    )
    return record


def combinations(concepts: list[str], split: Split) -> Iterator[Combination]:
    """Every combination of old concepts that an exam may ask for, but the relations and people."""
    counts = [str(count) for count in range(2, 7)]
    for concept in concepts:
        for kind, values in (("colour", COLOURS), ("style", STYLES), ("count", counts)):
            yield from (Combination(kind, (concept, value)) for value in values)
        yield from (Combination("accessory", (concept, accessory)) for accessory in split.accessories)


def test_shipped_concepts_are_everyday_entries_under_their_names(shipped: dict[str, Any]) -> None:
    entries = {entry.names[0]: entry for entry in everyday_entries()}
    for concept, words in shipped["concepts"].items():
        assert set(words) <= set(entries[concept].names), concept


def test_held_out_questions_about_old_concepts_never_move(shipped: dict[str, Any]) -> None:
    """If this fails, the exam of the model that comes with Sumi asks for what it was taught."""
    icons = {entry.names[0]: entry.icon for entry in everyday_entries()}
    concepts = list(shipped["concepts"])
    facets = {concept: facets_of(icons[concept]) for concept in concepts}
    accessories = [name for name, can in facets.items() if can.wearable or can.holdable or can.rideable]
    split = Split(tuple(sorted(accessories)))
    held_out = sorted(str(found) for found in combinations(concepts, split) if split.held_out(found))
    assert (len(accessories), len(held_out)) == (97, 3166)
    assert hashlib.sha256("\n".join(held_out).encode()).hexdigest()[:16] == "529a49aa5cfb5fc0"
    assert [name for name in concepts if is_held_out(Combination("concept", (name,)))] == shipped["held_out"]


def test_no_accessory_is_added_without_a_rule_of_its_own() -> None:
    """Each bearer goes without the two accessories that hash lowest, so another accessory would move them."""
    known = table("facets")
    icons = {*known["wear"], *known["hold"], *known["seat"]}
    assert icons <= {entry.icon for entry in everyday_entries()}
