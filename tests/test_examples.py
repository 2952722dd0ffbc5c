"""Every example of the pages is one that works: run on the model that comes with Sumi, as a newcomer would.

Each page is run from top to bottom in an empty folder. What is not run is named below with its reason; the name, the
options and the arguments of a command that is not run are still read by the command line itself.
"""

from __future__ import annotations

import ast
import glob
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest
from PIL import Image, ImageDraw

import sumi
from sumi import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").glob("*.md")),
]  # fmt: skip
NOT_RUN: Mapping[str, str] = {
    r"(.venv/bin/)?pip |make |docker |cd |echo |export |ray |serve deploy": "sets up a machine",
    r"(SUMI_FUZZ_EXAMPLES=\S+ )?.venv/bin/(pre-commit|ruff|mypy|lint-imports|pytest)": "a check, not an example",
    r"curl ": "needs a running server; tests/serving asks the same",
    r"sumi (serve|studio)": "runs until it is stopped; tests/serving and tests/studio start it",
    r"(.venv/bin/)?sumi train": "trains for minutes to hours; tests/cli/test_systems.py trains",
    r"torchrun ": "trains for hours; tests/training/test_distributed.py starts several processes",
    r"sumi lineage": "trains for minutes; tests/cli/test_systems.py runs a short one",
    r"sumi exam": "draws hundreds of pictures; tests/cli/test_exam_edits.py runs a short one",
    r"sumi (inspect|import|pull|doctor|export)": "needs published weights; tests/cli/test_published.py runs them",
    r"sumi data": "needs the artwork, which `make artwork` fetches",
    r"sumi rights": "needs a model of one's own; tests/curation/test_rights.py asks one",
    r"sumi (teach|adapters)": "learns for minutes; tests/cli/test_teach.py teaches a tiny model",
    r"sumi report": "needs a run of one's own; tests/cli/test_report.py reports on some",
    r"sumi synthesize": "draws for minutes; tests/curation/test_synthesis.py draws a small set",
    r"sumi \w+ .*--with ": "needs an adapter that was taught before",
    r"(.venv/bin/)?sumi \w+ .*--(model|lora) ": "needs a model that was trained before",
    r"(.venv/bin/)?python benchmarks/": "measures for minutes",
}
NOT_EXECUTED: Mapping[str, str] = {
    "docs/python.md": "is one session; tests/pipelines/test_python_page.py runs it and compares what it prints",
    "docs/architecture.md": "quotes the code; tests/test_house.py compares it",
    "docs/equations.md": "quotes the code; tests/test_equations.py compares it",
    "docs/serving.md": "needs a running server; tests/openai_sdk asks the same",
    "docs/own-pictures.md": "needs pictures of one's own",
    "docs/teach.md": "needs an adapter that was taught before",
    "docs/published-weights.md": "needs weights that others published",
    "docs/training.md": "needs a lesson of one's own",
    "docs/scaling.md": "needs a lesson of one's own",
    "docs/systems/": "needs pictures of one's own, and trains",
}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page in the shell's or Python's language, in order."""
    for found in re.finditer(r"^```(sh|python)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield found[1], found[2]


def commands(block: str) -> Iterator[str]:
    """The commands of a block, without comments."""
    for line in block.splitlines():
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            if words:
                yield shlex.join(words)


def notes_shown(block: str) -> dict[str, list[str]]:
    """The notes that a page shows, `# note: ...`, by the command above them."""
    shown: dict[str, list[str]] = {}
    command = ""
    for line in block.splitlines():
        if line.startswith("# note: "):
            shown.setdefault(command, []).append(line.removeprefix("# "))
        command = next(commands(line), "") or (command if line.startswith("#") else "")
    return shown


def not_run(command: str) -> bool:
    """Whether a command is among those that are named above."""
    return any(re.match(pattern, command) for pattern in NOT_RUN)


def is_executed(page: Path) -> bool:
    """Whether the Python of a page is executed."""
    return not any(str(page.relative_to(ROOT)).startswith(start) for start in NOT_EXECUTED)


def is_run(page: Path) -> bool:
    """Whether anything of a page is run."""
    return any(
        is_executed(page) if language == "python" else any(not not_run(command) for command in commands(block))
        for language, block in blocks(page)
    )


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder but for the pictures that a reader has; and one model, loaded once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUMI_MODEL", raising=False)
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).rectangle((0, 0, 255, 130), fill=255)
    mask.save("mask.png")
    sketch = Image.new("RGB", (256, 256), "white")
    brush = ImageDraw.Draw(sketch)
    brush.ellipse((60, 90, 200, 230), fill="#d2601a")
    brush.polygon([(70, 120), (60, 30), (125, 95)], fill="#d2601a")
    brush.polygon([(190, 120), (200, 30), (135, 95)], fill="#d2601a")
    sketch.save("sketch.png")
    sketch.save("fox.png")
    artist = sumi.load()
    monkeypatch.setattr(sumi, "load", lambda model=None, **options: artist)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("page", list(filter(is_run, PAGES)), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_work(page: Path) -> None:
    for language, block in blocks(page):
        if language == "python" and is_executed(page):
            exec(compile(block, page.name, "exec"), {})
        for command in commands(block) if language == "sh" else ():
            if not not_run(command):
                run(command, notes_shown(block).get(command, []))


def run(command: str, shown: list[str]) -> None:
    """Run one command, `*` expanded; it must end well, and say that it knows every word or what the page shows."""
    program, *words = shlex.split(command)
    assert program == "sumi", f"{command} is neither run nor named with a reason"
    expanded = [path for word in words for path in (sorted(glob.glob(word)) if "*" in word else [word])]
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as left, redirect_stdout(out), redirect_stderr(err):
        cli.main(expanded)
    assert left.value.code == 0, (command, err.getvalue())
    notes = [line for line in err.getvalue().splitlines() if line.startswith("note: ") and "to fit" not in line]
    assert notes == shown and out.getvalue(), (command, err.getvalue())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_can_be_typed(page: Path) -> None:
    for language, block in blocks(page):
        for command in commands(block) if language == "sh" else ():
            program, *words = shlex.split(command)
            if Path(program).name == "sumi":
                parsed(words, command)
        for node in ast.walk(ast.parse(block)) if language == "python" else ():
            if isinstance(node, ast.Import | ast.ImportFrom) and page.name != "architecture.md":
                exec(compile(ast.Module([node], []), page.name, "exec"), {})


def parsed(words: list[str], command: str) -> None:
    """Let the command line read a command, without doing it."""
    found: click.Command | None = cli.sumi
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        found, words = found.get_command(click.Context(found), words[0]), words[1:]
        assert found is not None, command
    assert found is not None
    try:
        found.make_context(found.name, list(words))
    except click.UsageError as error:
        pytest.fail(f"{command}: {error.format_message()}")


def test_every_exception_is_one_that_is_needed() -> None:
    shell = [block for page in PAGES for language, block in blocks(page) if language == "sh"]
    typed = [command for block in shell for command in commands(block)]
    for pattern in NOT_RUN:
        assert any(re.match(pattern, command) for command in typed), f"no page has {pattern}"
