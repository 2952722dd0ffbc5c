"""Mutation testing itself: what it changes, and that the mutants with a name still apply to the code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield pytest.importorskip("mutants")
    sys.modules.pop("mutants", None)


def test_named_mutants_apply_to_the_code_and_name_tests_that_exist(mutants: Any) -> None:
    named = mutants.load_named_mutants()
    assert len(named) == len({one.what for one in named}) > 20
    for one in named:
        assert one.mutant.applied() != (mutants.SOURCE / one.mutant.path).read_bytes()
        assert all((ROOT / "tests" / test).is_file() for test in one.tests), one.what


def test_mutants_change_operators_constants_and_conditions_and_leave_words_alone(
    mutants: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "diffusion").mkdir()
    (tmp_path / "diffusion" / "toy.py").write_text(
        'LIMIT = 3\n\n\ndef f(x, y=0.5):\n    """Words: 1 + 1."""\n'
        '    if x < y:\n        raise ValueError(f"{x + 1}")\n    return -max(x, y)\n'
    )
    monkeypatch.setattr(mutants, "SOURCE", tmp_path)
    monkeypatch.setattr(mutants, "ROOMS", ("diffusion",))
    found = mutants.find_mutants()
    assert [(one.line, one.old, one.new) for one in found] == [
        (1, "3", "4"), (4, "0.5", "1.0"), (6, "x < y", "False"), (6, "<", ">="), (8, "-", ""), (8, "max", "min"),
    ]  # fmt: skip
    assert [one.at_import for one in found] == [one.is_setting for one in found] == [True, True] + [False] * 4
    assert b"return max(x, y)" in found[4].applied() and b"return -min(x, y)" in found[5].applied()
