"""The rules of the house that a machine can check, and that the documents say what the code does."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import click
import pytest

import sumi
from sumi import cli

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", "benchmarks", "deploy", "docs", "examples", "src", "tests")
MOST_LINES = 450
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}

PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SOURCE = [path for path in PYTHON if path.is_relative_to(ROOT / "src")]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "sumi").glob("*/__init__.py"))
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the repository, by its path; pictures and weights are not texts."""
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".typed", ""}
    files = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in files:
        if path.is_file() and path.suffix in kinds and path.name != ".git":  # of a worktree
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def fences(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


# Files.


def test_files_have_no_catch_all_names() -> None:
    assert not [path for path in PYTHON if NAMELESS & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_files_have_at_most_450_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in PYTHON}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_unix_modules_are_not_imported_at_module_level() -> None:
    unix = {
        "crypt",
        "curses",
        "fcntl",
        "grp",
        "posix",
        "pty",
        "pwd",
        "readline",
        "resource",
        "syslog",
        "termios",
        "tty",
    }
    found = set()
    for path in SOURCE:
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(str(path.relative_to(ROOT)), name) for name in names if name.split(".")[0] in unix}
    assert not found


def test_urls_lead_to_known_hosts() -> None:
    known = {
        "arxiv.org", "creativecommons.org", "cv.iptc.org", "example.org", "github.com", "iptc.org",
        "keepachangelog.com", "semver.org", "www.apache.org", "www.openraster.org", "www.w3.org",
        "127.0.0.1",
    }  # fmt: skip
    found = {(urlparse(url).hostname, name) for name, text in texts() for url in re.findall(r"https?://[\w.-]+", text)}
    assert {(host, name) for host, name in found if host not in known} == set()


def test_files_name_no_folder_of_one_machine() -> None:
    absolute = re.compile(r"""(?:^|["'`\s(=])/(\w+)/\w""", re.MULTILINE)
    found = {(name, root) for name, text in texts() for root in absolute.findall(text)}
    paths, routes = {"usr", "var", "proc", "dev", "sys"}, {"v1", "studio", "sumi", "sumisumi"}
    assert {(name, root) for name, root in found if root not in paths | routes} == set()


def test_source_never_pickles() -> None:
    for path in SOURCE:
        assert not imports(path) & {"pickle", "cPickle", "dill", "joblib", "shelve"}, path
        assert not re.search(r"\btorch\.(load|save)\(", path.read_text("utf-8")), path


def test_source_writes_files_atomically() -> None:
    """Elsewhere than in these, which write into a draft and rename it, `sumi.atomic_file` writes."""
    drafts = {
        "bundles/bundle.py", "bundles/drawings.py", "data/atlas.py", "data/pool.py", "training/checkpoint.py",
        "training/report.py", "systems/sticker/features.py", "systems/sticker/training_data.py",
    }  # fmt: skip
    found = {
        (str(path.relative_to(ROOT / "src/sumi")), node.lineno)
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes")
    }
    assert {(name, line) for name, line in found if name not in drafts} == set()


# Documents.


@named
def test_page_links_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@named
def test_page_files_exist(page: Path) -> None:
    paths = re.findall(r"`((?:src|docs|tests|examples|benchmarks)/[\w./-]*)`", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@named
def test_page_commands_are_valid(page: Path) -> None:
    inline = re.findall(r"`((?:sumi|make) [^`\n]+)`", page.read_text("utf-8"))
    lines = [line for block in fences(page, "sh") for line in block.splitlines()] + inline
    for command in (part for line in lines for part in line.split(" && ")):
        words = shlex.split(command, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), command
        elif words and Path(words[0]).name == "sumi":
            check_options(words[1:], command)
        elif words and Path(words[0]).name == "python":
            assert (ROOT / words[1]).exists(), command


def check_options(words: list[str], command: str) -> None:
    """Every word that names a subcommand or an option names one that there is."""
    found: click.Command | None = cli.sumi
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        found, words = found.get_command(click.Context(found), words[0]), words[1:]
        assert found is not None, command
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in words if re.match(r"-{1,2}[a-z]", word)}
    assert given <= known | {"--help", "--version"}, command


@named
def test_page_python_parses(page: Path) -> None:
    for block in fences(page, "python"):
        assert ast.parse(block).body, block


def test_architecture_quotes_the_code() -> None:
    blocks = fences(ROOT / "docs/architecture.md", "python")
    assert blocks and [fault for block in blocks for fault in quote_faults(block)] == []


@pytest.mark.parametrize(
    ("quote", "fault"),
    [
        ("class Level(NamedTuple):\n    alpha: Tensor\n    sigma: Tensor", ""),
        ("class Level(NamedTuple):\n    alpha: Tensor", "Level has the fields"),
        ("class Level(NamedTuple):\n    alpha: float\n    sigma: Tensor", "Level.alpha is"),
        ("class Levels(NamedTuple):\n    alpha: Tensor\n    sigma: Tensor", "Levels is not in"),
        ("class Schedule(Protocol):\n    def __call__(self, t): ...", "Schedule has the methods"),
        ("def per_sample(coefficient, sample): ...", "per_sample takes"),
    ],
)
def test_quote_check_finds_what_differs_from_the_code(quote: str, fault: str) -> None:
    faults = list(quote_faults(f"# src/sumi/diffusion/schedule.py\n{quote}\n"))
    assert len(faults) == bool(fault) and all(found.startswith(fault) for found in faults)


def quote_faults(block: str) -> Iterator[str]:
    """What a block of quotes says otherwise than the code; a comment `# src/...` names the file of the quotes below."""
    _, *parts = re.split(r"^# (src/[\w/]+\.py)\n", block, flags=re.MULTILINE)
    if not parts:
        yield f"this block names no file: {block[:60]!r}"
    for path, quotes in zip(parts[::2], parts[1::2], strict=True):
        module = importlib.import_module(path.removeprefix("src/").removesuffix(".py").replace("/", "."))
        for quote in ast.parse(quotes).body:
            assert isinstance(quote, ast.ClassDef | ast.FunctionDef)
            thing = getattr(module, quote.name, None)
            if getattr(thing, "__module__", None) != module.__name__:
                yield f"{quote.name} is not in {path}"
            elif isinstance(quote, ast.FunctionDef):
                yield from argument_faults(quote, thing)
            else:
                yield from class_faults(quote, thing)


def class_faults(quote: ast.ClassDef, thing: Any) -> Iterator[str]:
    """Where a quoted class differs from one with these fields and, if it is a protocol, these methods."""
    fields = {name: str(kind) for name, kind in inspect.get_annotations(thing).items()}
    if getattr(thing, "_is_protocol", False):
        properties = {name: item.fget for name, item in vars(thing).items() if isinstance(item, property) and item.fget}
        fields |= {name: str(inspect.get_annotations(getter)["return"]) for name, getter in properties.items()}
    quoted = {ast.unparse(item.target): item.annotation for item in quote.body if isinstance(item, ast.AnnAssign)}
    if list(quoted) != list(fields):
        yield f"{quote.name} has the fields {list(fields)}, not {list(quoted)}"
    for name in quoted.keys() & fields.keys():
        words = set(re.findall(r"\w+", ast.unparse(quoted[name])))
        if not words <= set(re.findall(r"\w+", fields[name])):
            yield f"{quote.name}.{name} is {fields[name]}"
    methods = {item.name: item for item in quote.body if isinstance(item, ast.FunctionDef)}
    public = [name for name in ("__call__", *vars(thing)) if callable(vars(thing).get(name)) and name[0] != "_"]
    if getattr(thing, "_is_protocol", False) and not set(public) <= methods.keys():
        yield f"{quote.name} has the methods {public}"
    for name, method in methods.items():
        yield from argument_faults(method, getattr(thing, name, None))


def argument_faults(quote: ast.FunctionDef, function: Any) -> Iterator[str]:
    """Where a quoted function differs from one with exactly these arguments."""
    if not callable(function):
        yield f"{quote.name} is no function"
    elif [argument.arg for argument in quote.args.args] != list(inspect.signature(function).parameters):
        yield f"{quote.name} takes {list(inspect.signature(function).parameters)}"


def test_changelog_has_this_version() -> None:
    assert f"\n## [{sumi.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_licence_is_complete() -> None:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert SETTINGS["project"]["license"] == "Apache-2.0"
