"""The package never runs code that a file holds: no unpickling, no unsafe YAML, no evaluation, no blind unpacking."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

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


# `make audit` and `make sbom`.


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    yield importlib.import_module("audit")
    sys.modules.pop("audit", None)


@pytest.fixture
def sbom(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    yield importlib.import_module("sbom")
    sys.modules.pop("sbom", None)


def finding(test: str, path: str = "nn/unet.py") -> dict[str, Any]:
    return {"test_id": test, "filename": path, "line_number": 7, "issue_text": "it may be wrong"}


def test_bandit_finds_nothing_without_a_reason(audit: ModuleType) -> None:
    pytest.importorskip("bandit")
    findings = audit.run_bandit()
    assert len(findings) > 50
    assert list(audit.compare_findings(findings, audit.load_accepted())) == []
    assert all(row["reason"] for row in audit.load_accepted())


def test_compare_findings_names_what_has_no_reason_and_reasons_without_a_finding(audit: ModuleType) -> None:
    accepted = [
        {"test": "B101", "path": "*", "reason": "narrows a type"},
        {"test": "B110", "path": "nn/unet.py", "count": 1, "reason": "a retry"},
    ]
    same = [finding("B101"), finding("B101", "cli/show.py"), finding("B110")]
    assert list(audit.compare_findings(same, accepted)) == []
    assert list(audit.compare_findings([*same, finding("B602")], accepted)) == ["nn/unet.py:7: B602 it may be wrong"]
    assert len(list(audit.compare_findings([*same, finding("B110")], accepted))) == 2, "one more than has a reason"
    elsewhere = [*same[:2], finding("B110", "nn/dit.py")]
    assert [line.split(": ")[1][:4] for line in audit.compare_findings(elsewhere, accepted)] == ["B110", "B110"]


def test_read_advisories_counts_only_packages_that_were_looked_up(audit: ModuleType) -> None:
    clean = {"name": "numpy", "version": "2.0", "vulns": []}
    fault = {"name": "pillow", "version": "9.0", "vulns": [{"id": "CVE-1", "fix_versions": ["9.1"]}]}
    skipped = {"name": "torch", "skip_reason": "not found"}
    report = json.dumps({"dependencies": [clean, fault, skipped]})
    assert audit.read_advisories(report) == (2, 1, ["pillow 9.0: CVE-1, fixed in 9.1"])
    assert audit.read_advisories(json.dumps({"dependencies": [skipped]})) == (0, 1, []), "not a success"
    assert audit.read_advisories("") == (0, 0, [])


def test_audit_without_a_network_says_that_nothing_was_looked_up(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "run_pip_audit", lambda python: "")
    monkeypatch.setattr(audit, "load_accepted", list)
    monkeypatch.setattr(audit, "run_bandit", list)
    assert audit.main(sys.executable) == 0
    assert "pip-audit: NOT CHECKED" in capsys.readouterr().out
    monkeypatch.setattr(audit, "run_bandit", lambda: [finding("B602")])
    assert audit.main(sys.executable) == 1


def test_sbom_scopes_follow_the_requirements_and_the_extras_asked_for(sbom: ModuleType) -> None:
    requires = {"torch": ["sympy", "pytest; extra == 'test'"], "uvicorn": ["h11", "uvloop; extra == 'standard'"]}
    names = ("torch", "sympy", "pytest", "uvicorn", "h11", "uvloop", "Stray_Package")
    installed = {name.lower(): [Requirement(one) for one in requires.get(name, ())] for name in names}
    bill = {"components": [{"name": name} for name in names], "metadata": {"component": {"name": "sumi"}}}
    extras = {"serve": ["uvicorn[standard]>=0.4"], "dev": ["sumi[serve]", "pytest>=8"]}
    project = {"name": "sumi", "dependencies": ["torch>=2.10"], "optional-dependencies": extras}
    found = sbom.add_scopes(bill, project, "0.1.0", installed)
    assert found["metadata"]["component"]["version"] == "0.1.0"
    scopes = {one["name"]: one["scope"] for one in found["components"]}
    assert [name for name in names if scopes[name] == "required"] == ["torch", "sympy"]
    assert [name for name in names if scopes[name] == "optional"] == ["uvicorn", "h11", "uvloop"]
    assert [name for name in names if scopes[name] == "excluded"] == ["pytest", "Stray_Package"]
