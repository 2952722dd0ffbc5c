"""Hidden words are found, also in ways that the policy was not written for, and harmless sentences pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "policy.py"


@pytest.fixture(scope="module")
def red_team() -> ModuleType:
    spec = importlib.util.spec_from_file_location("red_team", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_policy_finds_hidden_proxies_in_both_splits(red_team: ModuleType) -> None:
    for split, rows in red_team.measure_recall(each=60).items():
        assert rows["all"]["n"] >= 600 and rows["all"]["rate"] >= 0.95, split
        assert min(row["rate"] for row in rows.values()) >= 0.9, split


def test_policy_stops_at_most_one_harmless_sentence_in_a_hundred_for_each_identity_term(red_team: ModuleType) -> None:
    rows = red_team.measure_false_positives(1000)
    assert rows["harmless, proxies"]["rate"] <= 0.01 and rows["harmless, shipped"]["rate"] <= 0.01
    assert len(rows["identity terms"]) == 18
    assert {name: row["rate"] for name, row in rows["identity terms"].items() if row["rate"] > 0.01} == {}
