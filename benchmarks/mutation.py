"""Mutation testing: count the small faults in the code that the tests miss.

    python benchmarks/mutation.py                  # every fault, a night's work
    python benchmarks/mutation.py -n 120 --seed 1  # a sample
    python benchmarks/mutation.py --only diffusion/loss.py

A fault is one operator, constant, condition or name changed (`FAULTS`). The tests run once under `coverage`, so that
for each fault only the tests that execute its line run; a fault that no test notices has survived. Each fault lives in
a forked process that imports the changed source in place of the file: no file is written, and PyTorch is imported once.
The record of which test executes which line is kept in `runs/mutation` and made again with `--record`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TESTS, RUN = ROOT / "src" / "sumi", ROOT / "tests", ROOT / "runs" / "mutation"
ROOMS = ("diffusion", "systems", "training", "evaluation")
TESTED_BY = ("diffusion", "systems", "training", "evaluation", "codecs", "conditioning", "cli/test_systems.py")
LONGEST_S = 240.0

SWAPPED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.Lt: ("<", ">="), ast.LtE: ("<=", "<"), ast.Gt: (">", "<="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip
RENAMED = {
    "argmax": "argmin", "argmin": "argmax", "amax": "amin", "amin": "amax", "max": "min", "min": "max",
    "any": "all", "all": "any", "zeros_like": "ones_like", "ones_like": "zeros_like", "zeros": "ones", "ones": "zeros",
    "clamp_min": "clamp_max", "normal": "torch.zeros_like", "mean": "sum", "sum": "mean", "exp": "log", "log": "exp",
    "sqrt": "square", "square": "abs", "floor": "ceil", "cos": "sin", "sin": "cos",
}  # fmt: skip
FAULTS = "operators swapped, constants changed, signs and negations dropped, conditions fixed, functions exchanged"


@dataclass(frozen=True)
class Fault:
    """One change of a file: bytes `start` to `end`, on line `line`, become `new`."""

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old!r} becomes {self.new!r}"

    def applied(self) -> bytes:
        """Return the file's source with the change."""
        source = (SOURCE / self.path).read_bytes()
        return source[: self.start] + self.new.encode() + source[self.end :]


class _Faults(ast.NodeVisitor):
    """Collects the faults of a file; docstrings, types and the words of errors are left alone."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source, self.found = path, source, list[Fault]()
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def _add(self, line: int, start: int, end: int, new: str) -> None:
        old = self.source[start:end].decode()
        if old != new:
            self.found.append(Fault(self.path, line, start, end, old, new))

    def _span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _between(self, left: ast.expr, right: ast.expr, operator: ast.AST) -> None:
        old, new = SWAPPED.get(type(operator), ("", ""))
        begin, end = self._span(left)[1], self._span(right)[0]
        place = self.source[begin:end].find(old.encode())
        if old and place >= 0:
            self._add(left.end_lineno or left.lineno, begin + place, begin + place + len(old), new)

    def _replace(self, node: ast.expr, new: str) -> None:
        self._add(node.lineno, *self._span(node), new)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)):
            self._between(node.left, node.right, node.op)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self._between(left, right, operator)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._between(node.values[0], node.values[1], node.op)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.Not | ast.Invert):
            start, _ = self._span(node)
            self._add(node.lineno, start, self._span(node.operand)[0], "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int):
            self._replace(node, str(node.value + 1))
        elif isinstance(node.value, float):
            self._replace(node, repr(2 * node.value if node.value else 1.0))

    def visit_If(self, node: ast.If) -> None:
        self._replace(node.test, "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._replace(node.test, "True")
        self._replace(node.test, "False")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in RENAMED and (name != "normal" or isinstance(node.func, ast.Name)):
            end = self._span(node.func)[1]
            new = RENAMED[name]
            if name == "normal" and len(node.args) == 2:
                self._replace(node, f"{new}({ast.unparse(node.args[0])})")
            elif name != "normal":
                self._add(node.func.end_lineno or node.lineno, end - len(name), end, new)
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Nothing: what an error says is not behaviour that counts here."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Nothing: words."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing."""


def faults(only: str = "") -> list[Fault]:
    """Return every fault of the rooms, or of those files whose path begins with `only`."""
    found: list[Fault] = []
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            if name.startswith(only):
                visitor = _Faults(name, path.read_bytes())
                visitor.visit(ast.parse(visitor.source))
                found += visitor.found
    return found


def record(tests: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Run the tests once and return which of them execute each line: {path: {line: [test, ...]}}."""
    RUN.mkdir(parents=True, exist_ok=True)
    data = RUN / "coverage"
    settings = f"[run]\nsource = {SOURCE}\ndynamic_context = test_function\ndata_file = {data}\n"
    (RUN / "coveragerc").write_text(settings, encoding="utf-8")
    run = [sys.executable, "-m", "coverage", "run", f"--rcfile={RUN / 'coveragerc'}", "-m", "pytest", "-q"]
    subprocess.run([*run, "-p", "no:cacheprovider", *tests], cwd=ROOT, check=True)
    from coverage import CoverageData

    seen = CoverageData(str(data))
    seen.read()
    lines: dict[str, dict[str, list[str]]] = {}
    for file in seen.measured_files():
        executed = seen.contexts_by_lineno(file).items()
        path = str(Path(file).relative_to(SOURCE))
        lines[path] = {str(line): sorted(filter(None, contexts)) for line, contexts in executed}
    (RUN / "lines.json").write_text(json.dumps(lines), encoding="utf-8")
    return lines


def tests_of(fault: Fault, lines: dict[str, dict[str, list[str]]], most: int = 30) -> list[str]:
    """Return the tests that execute a fault's line, as pytest names them, those of its own file first.

    Of a line that runs at import, such as a default, they are all tests of the file.
    """
    of_file = lines.get(fault.path, {})
    named = of_file.get(str(fault.line)) or _nearest(of_file, fault.line)
    names = []
    for context in named:
        module, _, function = context.partition(".test_")
        stem, _, test = function.partition(".")
        path = TESTS.parent / f"{module.replace('.', '/')}/test_{stem}.py"
        path = path if path.exists() else next(TESTS.rglob(f"test_{stem}.py"), path)
        names.append(f"{path.relative_to(ROOT)}::{test.split('.')[0]}")
    stem, room = Path(fault.path).stem, fault.path.split("/")[0]
    nearest = sorted(dict.fromkeys(names), key=lambda name: (f"test_{stem}" not in name, f"/{room}/" not in name))
    return nearest[:most]


def _nearest(of_file: dict[str, list[str]], line: int) -> list[str]:
    """The tests of the whole file: for lines such as defaults and tables that run when it is imported."""
    return sorted({test for tests in of_file.values() for test in tests})


class _Changed(SourceFileLoader):
    """Loads a module from other source than its file holds, and keeps no bytecode of it."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.changed = source

    def get_data(self, path: str | os.PathLike[str]) -> bytes:
        return self.changed if str(path) == self.path else super().get_data(str(path))

    def path_stats(self, path: str | bytes | os.PathLike[str]) -> dict[str, float]:
        raise OSError("no bytecode")


class _Finder:
    """Finds the changed module before anything else does."""

    def __init__(self, fault: Fault) -> None:
        parts = ["sumi", *fault.path.removesuffix(".py").split("/")]
        self.package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.package else parts)
        self.file, self.source = str(SOURCE / fault.path), fault.applied()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = _Changed(name, self.file, self.source)
        places = [str(Path(self.file).parent)] if self.package else None
        return importlib.util.spec_from_file_location(name, self.file, loader=loader, submodule_search_locations=places)


def survives(fault: Fault, tests: Sequence[str]) -> bool:
    """Run tests with a fault in a process of their own, and return whether all pass; one that hangs is noticed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        _run(fault, tests)
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(fault: Fault, tests: Sequence[str]) -> None:
    """In the child: import the changed module, run the tests quietly, and leave."""
    import pytest

    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.meta_path.insert(0, _Finder(fault))
    os.chdir(ROOT)
    status = 1
    try:
        status = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
    finally:
        os._exit(status)


def tried(chosen: Sequence[Fault], lines: dict[str, dict[str, list[str]]]) -> Iterator[tuple[Fault, str]]:
    """Yield each fault with what became of it: noticed, survived, or untested where no test runs its line."""
    import pytest  # noqa: F401 - imported once here, not in every child
    import torch  # noqa: F401

    for fault in chosen:
        tests = tests_of(fault, lines)
        yield fault, "untested" if not tests else "survived" if survives(fault, tests) else "noticed"


def main() -> None:
    parser = argparse.ArgumentParser(description=FAULTS)
    parser.add_argument("-n", type=int, help="how many faults, drawn at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", metavar="PATH", help="the beginning of a path, such as diffusion/loss.py")
    parser.add_argument("--record", action="store_true", help="record anew which test executes which line")
    options = parser.parse_args()
    kept = RUN / "lines.json"
    tests = [str(TESTS / name) for name in TESTED_BY]
    lines = record(tests) if options.record or not kept.exists() else json.loads(kept.read_text("utf-8"))
    every = faults(options.only)
    chosen = random.Random(options.seed).sample(every, min(options.n or len(every), len(every)))
    counts: Counter[str] = Counter()
    for fault, fate in tried(chosen, lines):
        counts[fate] += 1
        if fate != "noticed":
            print(f"{fate}: {fault}", flush=True)
    left = counts["survived"] + counts["untested"]
    share = f"{100 * left / len(chosen):.1f}%" if chosen else "nothing"
    print(f"{len(every)} faults, {len(chosen)} tried: {counts['noticed']} noticed, {left} left ({share})")


if __name__ == "__main__":
    main()
