"""docs/equations.md quotes the code as it is, and every quote fits a screen."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/equations.md"
QUOTES = re.findall(r"```python\n# (src/\S+): (\S+)\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
READING_PATH = ("schedule", "target", "denoise", "sampler", "loss")


def source_of(path: str, name: str) -> str:
    """The source of a function or a method, without its docstring and dedented."""
    text = (ROOT / path).read_text("utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        node = next(item for item in ast.iter_child_nodes(node) if getattr(item, "name", None) == part)
    assert isinstance(node, ast.FunctionDef)
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    numbers = set(range(first, (node.end_lineno or first) + 1))
    if ast.get_docstring(node):
        numbers -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = text.splitlines()
    return textwrap.dedent("\n".join(lines[number - 1] for number in sorted(numbers))).strip() + "\n"


@pytest.mark.parametrize(("path", "name", "quote"), QUOTES, ids=[name for _, name, _ in QUOTES])
def test_equations_page_quote_is_the_source_and_under_40_lines(path: str, name: str, quote: str) -> None:
    assert quote == source_of(path, name)
    assert len(quote.splitlines()) < 40


def test_equations_page_quotes_the_reading_path_and_the_three_loops() -> None:
    quoted = {name for _, name, _ in QUOTES}
    assert {"DDIMSampler.step", "forward", "Trainer.advance"} <= quoted
    assert {f"src/sumi/diffusion/{part}.py" for part in READING_PATH} <= {path for path, _, _ in QUOTES}
    assert len(QUOTES) == PAGE.read_text("utf-8").count("```python"), "a block that names no source is not compared"


@pytest.mark.parametrize("number", range(1, 6))
def test_reading_path_mark_of_each_file_names_its_place_and_the_next(number: int) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / f"src/sumi/diffusion/{READING_PATH[number - 1]}.py").read_text()))
    assert docstring is not None and f"Reading path, {number} of 5" in docstring
    assert number == 5 or f"next: `{READING_PATH[number]}.py`" in docstring
