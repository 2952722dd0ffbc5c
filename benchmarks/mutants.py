"""The mutants: the code with one small change each, found in the syntax or named by hand.

A change replaces an operator, a constant, a sign, a condition or a function. Some code stays as it is, because no test
of behaviour can notice a change there: docstrings, types, error messages and other strings, assertions, decorators,
imports, `zip(strict=...)`, and the batch size of frozen passes.

`named_mutants.toml` lists mutants that a reader of the code wrote and that the tests once missed.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "sumi"
ROOMS = ("diffusion", "systems", "training", "evaluation", "judge", "lineage")
NAMED = Path(__file__).with_name("named_mutants.toml")
NEUTRAL = {"strict", "batch", "indent", "fused", "set_to_none"}
"""Arguments that change no result."""

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


@dataclass(frozen=True)
class Mutant:
    """One change of a file: bytes `start` to `end`, on line `line`, become `new`.

    at_import: whether the change takes effect when the file is imported, and not when a function runs.
    """

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str
    at_import: bool = False

    @property
    def is_setting(self) -> bool:
        """Whether it changes a number that somebody chose: a default, a constant of a module, a preset's number."""
        return self.at_import and self.old[0].isdigit()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old!r} becomes {self.new!r}"

    def applied(self) -> bytes:
        """Return the file's source with the change."""
        source = (SOURCE / self.path).read_bytes()
        return source[: self.start] + self.new.encode() + source[self.end :]


class _MutantFinder(ast.NodeVisitor):
    """Collects the mutants of a file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source, self.found = path, source, list[Mutant]()
        self.at_import = True
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def _add(self, line: int, start: int, end: int, new: str) -> None:
        old = self.source[start:end].decode()
        if old != new:
            self.found.append(Mutant(self.path, line, start, end, old, new, self.at_import))

    def _span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _between(self, left: ast.expr, right: ast.expr, operator: ast.AST) -> None:
        old, new = SWAPPED.get(type(operator), ("", ""))
        begin, end = self._span(left)[1], self._span(right)[0]
        place_of = self.source[begin:end].find(old.encode())
        if old and place_of >= 0:
            self._add(left.end_lineno or left.lineno, begin + place_of, begin + place_of + len(old), new)

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
        """Skip it: the words of an error are not behaviour."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Skip it: words."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Skip it: an assertion holds in correct code."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in NEUTRAL:
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        placed = [*node.args.posonlyargs, *node.args.args]
        defaults = zip(placed[len(placed) - len(node.args.defaults) :], node.args.defaults, strict=True)
        for argument, default in (*defaults, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)):
            if default is not None and argument.arg not in NEUTRAL:
                self.visit(default)
        before, self.at_import = self.at_import, False
        for statement in node.body:
            self.visit(statement)
        self.at_import = before

    def visit_Import(self, node: ast.Import) -> None:
        """Skip it."""


def find_mutants(only: str = "") -> list[Mutant]:
    """Return every mutant of the rooms, or of those files whose path begins with `only`."""
    found: list[Mutant] = []
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            if name.startswith(only):
                visitor = _MutantFinder(name, path.read_bytes())
                visitor.visit(ast.parse(visitor.source))
                found += visitor.found
    return found


@dataclass(frozen=True)
class NamedMutant:
    """A mutant with a name, and the test files that should kill it."""

    what: str
    mutant: Mutant
    tests: tuple[str, ...]


def load_named_mutants() -> list[NamedMutant]:
    """Return the mutants of `named_mutants.toml`; ValueError where one no longer applies to the code."""
    found = []
    for entry in tomllib.loads(NAMED.read_text("utf-8"))["mutant"]:
        source, old = (SOURCE / entry["path"]).read_bytes(), entry["old"].encode()
        if source.count(old) != 1:
            raise ValueError(f"{entry['path']} should hold {entry['old']!r} once, not {source.count(old)} times")
        start = source.index(old)
        line = source[:start].count(b"\n") + 1
        mutant = Mutant(entry["path"], line, start, start + len(old), entry["old"], entry["new"])
        found.append(NamedMutant(entry["what"], mutant, tuple(entry["tests"])))
    return found
