"""Captions by a machine are told from those of people, and what leaving them out changes is undone by weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sumi.curation.machine_captions import REASONS, find_repeated, find_templates, reasons_of
from sumi.curation.reweighting import common_groups, reweight

LABELLED = Path(__file__).parents[1] / "data" / "captions.tsv"


@pytest.mark.parametrize("split", ["development", "test"])
def test_reasons_on_the_labelled_captions_are_precise_and_complete(split: str) -> None:
    """Rules were written against the half "development" alone."""
    rows = [line.split("\t") for line in LABELLED.read_text("utf-8").splitlines()]
    found = reasons_of([text for _, _, text in rows])
    pairs = [(by == "machine", bool(codes)) for (part, by, _), codes in zip(rows, found, strict=True) if part == split]
    hits = pairs.count((True, True))
    assert len(pairs) > 120
    assert hits / (hits + pairs.count((False, True))) >= 0.95
    assert hits / (hits + pairs.count((True, False))) >= 0.9


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("GARDEN FURNITURE SALE", "case"),
        ("Lamps | Brass", "punctuation"),
        ("a fox &amp; a hound", "markup"),
        ("DSC_0041", "file_name"),
        ("Untitled.", "placeholder"),
        ("a lamp, stock photo", "boilerplate"),
        ("The image shows a lamp", "assistant"),
        ("a lamp, octane render", "prompt"),
        ("lamp, brass, light, home", "tags"),
        ("lamp lamp buy lamp brass lamp", "entropy"),
    ],
)
def test_reasons_name_the_rule(caption: str, reason: str) -> None:
    assert reason in reasons_of([caption])[0] and reason in REASONS


@pytest.mark.parametrize(
    "caption", ["a red fox", "RED FOX?", "fox", "Mochi, 9 weeks", 'a sign that says "EXIT"', "ein Fuchs"]
)
def test_reasons_pass_plain_captions(caption: str) -> None:
    assert reasons_of([caption]) == [()]


def test_templates_need_many_captions_that_differ_in_one_slot() -> None:
    things = ["lamp", "red chair", "vase", "sofa", "table"]
    captions = [f"a high quality picture of a {thing} in a bright room" for thing in things]
    assert find_templates(captions) == [True] * 5
    assert find_templates(captions[:4]) == [False] * 4
    assert find_templates([f"a {thing}" for thing in things]) == [False] * 5


def test_repeated_captions_are_long_ones_of_many_pictures() -> None:
    assert find_repeated(["red fox"] * 9 + ["welcome to our hotel 1", "Welcome to our hotel"] * 3) == set(range(9, 15))


def test_weights_bring_the_shares_of_groups_back() -> None:
    rng = np.random.default_rng(0)
    words = np.where(rng.random((600, 3)) < (0.5, 0.3, 0.1), ["woman", "dog", "red"], "")
    captions = [" ".join(filter(None, row)) or "a tree" for row in words.tolist()]
    kept = [n for n, text in enumerate(captions) if rng.random() < (0.3 if "woman" in text else 0.9)]
    balance = reweight(captions, kept, {"women": ("woman",), "dogs": ("dog",), "red": ("red",)})
    assert max(abs(one.weighted - one.before) for one in balance.shares) < 0.02
    assert balance.shares[0].before - balance.shares[0].after > 0.1
    assert balance.weights.mean() == pytest.approx(1) and 0 < balance.effective < len(kept)


def test_weights_are_even_where_nothing_is_left_out() -> None:
    captions = ["a dog", "a cat", "a dog and a cat"] * 5
    groups = common_groups(captions)
    assert set(groups) == {"dog", "cat"}
    assert reweight(captions, range(15), groups).weights.tolist() == [1.0] * 15


def test_weights_of_a_group_that_is_wholly_left_out_stay_even() -> None:
    balance = reweight(["a dog", "a cat"], [1], {"dogs": ("dog",)})
    assert balance.weights.tolist() == [1.0] and balance.shares[0].weighted == 0
