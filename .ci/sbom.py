"""`make sbom`: the software bill of materials of an environment, as CycloneDX 1.6 JSON.

cyclonedx-bom lists the packages and who needs whom. This adds the version of Sumi and CycloneDX's scope of each
package:

    required    Sumi's dependencies, and what they need
    optional    those of the extras, such as serve
    excluded    those of development alone: the extras dev and parity, and whatever else the environment holds
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DEVELOPMENT = ("dev", "parity")


def run_cyclonedx(python: str) -> dict[str, Any]:
    """Return the bill of the environment of an interpreter."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    options = ["--output-reproducible", "--spec-version", "1.6", python]
    bill: dict[str, Any] = json.loads(subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True).stdout)
    return bill


def list_requirements(python: str) -> dict[str, list[Requirement]]:
    """Return what each package in the environment of an interpreter requires, by its normalized name."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {
        canonicalize_name(one.metadata["Name"]): list(map(Requirement, one.requires or ()))
        for one in importlib.metadata.distributions(path=[packages])
    }


def reach(requirements: Iterable[Requirement], installed: Mapping[str, Sequence[Requirement]]) -> set[str]:
    """Return the names of the packages that requirements name, and of all that these need with the extras asked for.

    cyclonedx-bom's own edges also lead to the packages of extras that nobody asked for.
    """
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(one.name), extra) for one in requirements for extra in ("", *one.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in found and name in installed:
            found.add((name, extra))
            for one in installed[name]:
                if one.marker is None or one.marker.evaluate({"extra": extra}):
                    waiting += [(canonicalize_name(one.name), asked) for asked in ("", *one.extras)]
    return {name for name, _ in found}


def add_scopes(
    bill: Mapping[str, Any], project: Mapping[str, Any], version: str, installed: Mapping[str, Sequence[Requirement]]
) -> dict[str, Any]:
    """Return the bill with the version of Sumi and a scope for each package.

    Args:
        bill: of cyclonedx-bom.
        project: `[project]` of pyproject.toml.
        version: of Sumi.
        installed: what each package requires.
    """
    extras = project["optional-dependencies"]
    optional = [Requirement(one) for name, some in extras.items() if name not in DEVELOPMENT for one in some]
    installed = {name: some for name, some in installed.items() if name != project["name"]}  # the extras, read above
    needed, wanted = reach(map(Requirement, project["dependencies"]), installed), reach(optional, installed)
    components = []
    for one in bill["components"]:
        name = canonicalize_name(one["name"])
        scope = "required" if name in needed else "optional" if name in wanted else "excluded"
        components.append(one | {"scope": scope})
    described = bill["metadata"]["component"] | {"version": version}
    return {**bill, "components": components, "metadata": bill["metadata"] | {"component": described}}


def main(python: str, out: Path) -> None:
    """Write the bill of the environment of an interpreter, and print how many packages of each scope it lists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    source = (ROOT / "src" / "sumi" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    bill = add_scopes(run_cyclonedx(python), project, found[1] if found else "", list_requirements(python))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill, indent=1) + "\n", "utf-8")
    counts = Counter(one["scope"] for one in bill["components"])
    print(f"{out}: " + ", ".join(f"{counts[scope]} {scope}" for scope in ("required", "optional", "excluded")))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
