"""The examples of docs/python.md run in order, and print what the page says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_examples_of_the_page_run_and_print_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    known: dict[str, object] = {}
    compared = 0
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        lines = block[1].splitlines()
        for statement in ast.parse(block[1]).body:
            _, _, said = lines[(statement.end_lineno or 1) - 1].partition("# => ")
            source = ast.unparse(statement)
            if not isinstance(statement, ast.Expr):
                assert not said, source
                exec(source, known)
                continue
            found = repr(eval(source, known))
            pattern = re.escape(said).replace(re.escape("..."), ".*")
            assert not said or re.fullmatch(pattern, found), f"{source} is {found}, not {said}"
            compared += bool(said)
    assert compared == text.count("# => "), "every claim is compared"
    assert {path.name for path in tmp_path.iterdir()} == {"fox-1.png", "fox-2.png", "best.png", "owl.png"}
