"""The boundaries of rooms. `lint-imports` holds who may import whom; these tests hold what and under which name."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = sorted((ROOT / "src").rglob("*.py"))
ROOMS = sorted(path.parent.name for path in (ROOT / "src/sumi").glob("*/__init__.py"))
MODULES = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCE
}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_rooms_have_a_floor_and_a_row() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {room: number for number, floor in enumerate(reversed(floors), 1) for room in floor.split(" | ")}
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(placed) == ROOMS
    assert {room: int(floor) for floor, room in rows} == placed


UNLISTED = frozenset(
    {
        "sumi.cli",
        "sumi.data",
        "sumi.imaging",
        "sumi.nn",
        "sumi.serving.schemas",
        "sumi.store.schema",
        "sumi.systems",
        "sumi.systems.sticker",
    }
)
"""Modules that do not yet list in `__all__` what other rooms import from them. This set may only shrink."""

SAME_NAME = frozenset(
    {
        "Downsample",
        "Entry",
        "Level",
        "Middle",
        "ResnetBlock",
        "TransformerBlock",
        "Upsample",
    }
)
"""Public names that several classes share. This set may only shrink."""

RENAMED = frozenset(
    {
        "sumi.cli.inspect",
        "sumi.cli.pull",
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


def test_diffusion_imports_torch_and_the_standard_library_only() -> None:
    for path in (ROOT / "src/sumi/diffusion").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
        assert roots <= {"torch", "sumi"}, path
        assert all(name.startswith("sumi.diffusion") for name in imports(path) if name.startswith("sumi")), path


def test_sumi_imports_only_errors() -> None:
    at_import = ast.parse((ROOT / "src/sumi/__init__.py").read_text("utf-8")).body
    names = [node.module for node in at_import if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name and name.startswith("sumi.")] == ["sumi.errors"]
