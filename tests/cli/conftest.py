"""Runs the command in this process, on the tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sumi.cli import main


@dataclass(frozen=True)
class Ran:
    """Status and output of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_folder: Path,
) -> Callable[..., Ran]:
    """Run `sumi ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUMI_MODEL", str(tiny_folder))

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        return Ran(left.value.code if isinstance(left.value.code, int) else 0, out, err)

    return run
