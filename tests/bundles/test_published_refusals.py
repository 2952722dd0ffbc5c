"""Damaged, mismatched and hostile weights: each is refused in one line, and nothing of it is executed."""

from __future__ import annotations

from pathlib import Path

import bad_pickles  # noqa: F401  # it adds its cases
import pytest
import torch
from bad_weights import CASES

from sumi import SumiError
from sumi.bundles.published.inspection import inspect


def test_the_cases_are_as_many_as_promised() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_inspect_bad_weights_refuses_in_one_line(name: str, tmp_path: Path) -> None:
    write, says = CASES[name]
    with pytest.raises(SumiError, match=says) as refused:
        inspect(write(tmp_path))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000
    assert not (tmp_path / "executed").exists()


def test_unpickling_would_have_executed_the_command(tmp_path: Path) -> None:
    """The hostile checkpoints above are real: unpickled in earnest, they run."""
    path = CASES["a checkpoint that runs a command"][0](tmp_path)
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists()
