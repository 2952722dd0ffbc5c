"""The rules of the house that a machine can check, and that the documents say what the code does."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
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
MODULES = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCE
}
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


def test_every_file_has_a_name_that_says_what_is_in_it() -> None:
    assert not [path for path in PYTHON if NAMELESS & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_no_file_holds_more_than_a_person_can() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in PYTHON}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_module_of_unix_alone_is_imported_with_a_file() -> None:
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


def test_addresses_are_those_of_papers_licences_and_authors() -> None:
    known = {
        "arxiv.org", "creativecommons.org", "example.org", "github.com", "keepachangelog.com", "semver.org",
        "www.apache.org", "www.openraster.org", "www.w3.org",
        "127.0.0.1",
    }  # fmt: skip
    found = {(urlparse(url).hostname, name) for name, text in texts() for url in re.findall(r"https?://[\w.-]+", text)}
    assert {(host, name) for host, name in found if host not in known} == set()


def test_no_file_knows_a_folder_of_one_machine() -> None:
    absolute = re.compile(r"""(?:^|["'`\s(=])/(\w+)/\w""", re.MULTILINE)
    found = {(name, root) for name, text in texts() for root in absolute.findall(text)}
    paths, routes = {"usr", "var", "proc", "dev", "sys"}, {"v1", "studio", "sumi", "sumisumi"}
    assert {(name, root) for name, root in found if root not in paths | routes} == set()


def test_nothing_is_pickled() -> None:
    for path in SOURCE:
        assert not imports(path) & {"pickle", "cPickle", "dill", "joblib", "shelve"}, path
        assert not re.search(r"\btorch\.(load|save)\(", path.read_text("utf-8")), path


def test_files_of_a_person_are_written_whole_or_not_at_all() -> None:
    """Elsewhere than in these, which write into a draft and rename it, `sumi.atomic_file` writes."""
    drafts = {
        "bundles/bundle.py", "bundles/drawings.py", "data/atlas.py", "data/pool.py", "training/checkpoint.py",
        "training/report.py", "systems/sticker/features.py", "systems/sticker/train_sticker.py",
    }  # fmt: skip
    found = {
        (str(path.relative_to(ROOT / "src/sumi")), node.lineno)
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes")
    }
    assert {(name, line) for name, line in found if name not in drafts} == set()


# Rooms. `lint-imports` holds who may import whom; these see to it that no room escapes it.


def test_every_room_has_a_floor_and_a_row() -> None:
    contracts = SETTINGS["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {room: number for number, floor in enumerate(reversed(floors), 1) for room in floor.split(" | ")}
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(placed) == ROOMS
    assert {room: int(floor) for floor, room in rows} == placed


UNLISTED = frozenset(
    {
        "sumi.bundles.device",
        "sumi.bundles.drawings",
        "sumi.bundles.json_file",
        "sumi.bundles.tensors",
        "sumi.cli",
        "sumi.data",
        "sumi.data.artwork",
        "sumi.data.atlas",
        "sumi.data.folder",
        "sumi.data.generator",
        "sumi.data.grammar",
        "sumi.data.layout_captions",
        "sumi.data.people",
        "sumi.data.plain_scenes",
        "sumi.data.pool",
        "sumi.data.render",
        "sumi.data.rights",
        "sumi.data.scene",
        "sumi.data.seeding",
        "sumi.data.split",
        "sumi.data.standing",
        "sumi.data.vocabulary",
        "sumi.data.wordnet",
        "sumi.data.words",
        "sumi.diffusion.binomial",
        "sumi.imaging",
        "sumi.lineage",
        "sumi.nn",
        "sumi.nn.conv_codec",
        "sumi.nn.embedding",
        "sumi.nn.unet",
        "sumi.pipelines.artist",
        "sumi.pipelines.blend",
        "sumi.pipelines.checks",
        "sumi.pipelines.edit",
        "sumi.pipelines.events",
        "sumi.pipelines.explore",
        "sumi.pipelines.generate",
        "sumi.pipelines.img2img",
        "sumi.pipelines.interpreted",
        "sumi.pipelines.invert",
        "sumi.pipelines.layered_image",
        "sumi.pipelines.prompt",
        "sumi.pipelines.recipe",
        "sumi.pipelines.request",
        "sumi.pipelines.restyle",
        "sumi.pipelines.short_repr",
        "sumi.pipelines.steps",
        "sumi.pipelines.tasks",
        "sumi.pipelines.torch_state",
        "sumi.pipelines.upscale",
        "sumi.pipelines.vary",
        "sumi.serving.job_spec",
        "sumi.serving.jobs_api",
        "sumi.serving.schemas",
        "sumi.store.schema",
        "sumi.systems",
        "sumi.systems.dataset",
        "sumi.systems.design",
        "sumi.systems.disk",
        "sumi.systems.painter",
        "sumi.systems.sticker",
        "sumi.systems.sticker.card",
        "sumi.systems.sticker.drawings",
        "sumi.systems.sticker.presets",
        "sumi.systems.sticker.train_sticker",
        "sumi.systems.train_system",
        "sumi.systems.unclip.artist",
        "sumi.training.batches",
        "sumi.training.checkpoint",
        "sumi.training.sample_sheet",
        "sumi.training.trainer",
    }
)
"""Modules that do not yet list in `__all__` what other rooms import from them. This set may only shrink."""

SAME_NAME = frozenset(
    {
        "Batch",
        "CaptionFeatures",
        "Downsample",
        "Entry",
        "Level",
        "Middle",
        "Picture",
        "Place",
        "RefusedError",
        "ResnetBlock",
        "TransformerBlock",
        "Upsample",
    }
)
"""Public names that several classes share. This set may only shrink."""

RENAMED = frozenset(
    {
        "sumi.cli.explain",
        "sumi.cli.inspect",
        "sumi.cli.lineage",
        "sumi.cli.pull",
        "sumi.cli.screen",
        "sumi.cli.serve",
        "sumi.cli.store",
        "sumi.cli.train_system",
        "sumi.lineage.runner",
        "sumi.serving.explain_api",
        "sumi.serving.jobs_api",
        "sumi.serving.layers_api",
        "sumi.serving.openai_api",
        "sumi.serving.responses",
        "sumi.serving.service",
        "sumi.studio.archive",
        "sumi.studio.how_it_works",
        "sumi.systems.sticker.train_sticker",
        "sumi.systems.train_system",
        "sumi.systems.unclip.networks",
    }
)
"""Modules that still import one of our own names under another name. This set may only shrink."""


def test_rooms_import_exported_names_only() -> None:
    """`__all__`, of a module or of its room, is the boundary of the room."""
    crossings = {
        (module, name)
        for importer, path in MODULES.items()
        for module, name, _ in own_imports(path)
        if room_of(module) not in ("", room_of(importer))
        if name not in exported_names(module) | exported_names(f"sumi.{room_of(module)}")
    }
    assert {(module, name) for module, name in crossings if module not in UNLISTED} == set()


def test_public_class_names_are_unique() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    shared = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert {name: modules for name, modules in shared.items() if name not in SAME_NAME} == {}


def test_own_names_are_imported_without_as() -> None:
    found = {
        (importer, module, name)
        for importer, path in MODULES.items()
        for module, name, other_name in own_imports(path)
        if other_name
    }
    assert {row for row in found if row[0] not in RENAMED} == set()


def own_imports(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """The names of ours that a file imports: the module, the name, and the name after `as` if there is one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sumi":
            yield from ((node.module or "", alias.name, alias.asname) for alias in node.names)


def room_of(module: str) -> str:
    """The room of a module, or "" for a module that lies beside the rooms."""
    room = (*module.split("."), "")[1]
    return room if room in ROOMS else ""


@cache
def exported_names(module: str) -> set[str]:
    """The names in the `__all__` of a module."""
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_the_mathematics_knows_torch_and_the_standard_library() -> None:
    for path in (ROOT / "src/sumi/diffusion").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
        assert roots <= {"torch", "sumi"}, path
        assert all(name.startswith("sumi.diffusion") for name in imports(path) if name.startswith("sumi")), path


def test_the_front_door_is_light() -> None:
    at_import = ast.parse((ROOT / "src/sumi/__init__.py").read_text("utf-8")).body
    names = [node.module for node in at_import if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name and name.startswith("sumi.")] == ["sumi.errors"]


# Documents.


@named
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@named
def test_files_named_in_the_text_exist(page: Path) -> None:
    paths = re.findall(r"`((?:src|docs|tests|examples|benchmarks)/[\w./-]*)`", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@named
def test_commands_can_be_typed_as_they_stand(page: Path) -> None:
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
def test_python_in_a_page_is_python(page: Path) -> None:
    for block in fences(page, "python"):
        assert ast.parse(block).body, block


def test_the_architecture_quotes_the_code() -> None:
    rooms = [importlib.import_module(f"sumi.{room}") for room in ROOMS]
    for block in fences(ROOT / "docs/architecture.md", "python"):
        for quote in ast.parse(block).body:
            assert isinstance(quote, ast.ClassDef | ast.FunctionDef)
            meant = [getattr(room, quote.name) for room in rooms if quote.name in getattr(room, "__all__", ())]
            assert any(agrees(quote, thing) for thing in meant), f"no room has such a {quote.name}"


def agrees(quote: ast.ClassDef | ast.FunctionDef, thing: object) -> bool:
    """Whether a thing has the arguments, or the fields and methods, that were quoted of it."""
    if isinstance(quote, ast.FunctionDef):
        return callable(thing) and [a.arg for a in quote.args.args] == list(inspect.signature(thing).parameters)
    for item in quote.body:
        if isinstance(item, ast.FunctionDef) and not agrees(item, getattr(thing, item.name, None)):
            return False
        if isinstance(item, ast.AnnAssign):
            assert isinstance(item.target, ast.Name) and isinstance(thing, type)
            if item.target.id not in inspect.get_annotations(thing) and not hasattr(thing, item.target.id):
                return False
    return True


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## [{sumi.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_licence_is_whole() -> None:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert SETTINGS["project"]["license"] == "Apache-2.0"
