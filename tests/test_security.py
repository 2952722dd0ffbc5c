"""The package never runs code that a file holds: no unpickling, no unsafe YAML, no evaluation, no blind unpacking."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = sorted(path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "telnetlib"}
CALLS = {"eval", "exec", "__import__"}
METHODS = {
    "extractall": "an archive may name files outside its folder",
    "unpack_archive": "an archive may name files outside its folder",
    "mktemp": "another process may take the name",
    "unsafe_load": "YAML may run code",
    "full_load": "YAML may run code",
}


def find_faults(tree: ast.AST) -> list[str]:
    """Every construct that may run code from a file, as line and name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append((node.lineno, str(node.module)))
        elif isinstance(node, ast.Call):
            found += [(node.lineno, name) for name in find_bad_calls(node)]
    return [f"{line}: {name}" for line, name in found]


def find_bad_calls(node: ast.Call) -> list[str]:
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    bad = ["shell=True"] if arguments.get("shell") == "True" else []
    bad += ["trust_remote_code"] if arguments.get("trust_remote_code") == "True" else []
    bad += ["allow_pickle"] if arguments.get("allow_pickle") == "True" else []
    if isinstance(node.func, ast.Name):
        return bad + ([node.func.id] if node.func.id in CALLS else [])
    if not isinstance(node.func, ast.Attribute):
        return bad
    name, owner = node.func.attr, ast.unparse(node.func.value)
    bad += [name] if name in METHODS else []
    bad += [f"{owner}.{name}"] if (owner, name) in {("yaml", "load"), ("os", "system"), ("os", "popen")} else []
    unsafe = (owner, name) == ("torch", "load") and arguments.get("weights_only") != "True"
    return bad + (["torch.load"] if unsafe else [])


def test_no_module_runs_code_that_a_file_holds() -> None:
    assert len(SOURCE) > 200
    faults = {str(path.relative_to(ROOT)): find_faults(ast.parse(path.read_text("utf-8"))) for path in SOURCE}
    assert {name: lines for name, lines in faults.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from shelve import open",
        "eval(text)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "torch.load(path)",
        "archive.extractall(folder)",
        "subprocess.run(line, shell=True)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_find_faults_sees_each_construct(line: str) -> None:
    assert len(find_faults(ast.parse(line))) == 1
    assert find_faults(ast.parse("model.eval()\nyaml.safe_load(text)\nre.compile(text)")) == []
