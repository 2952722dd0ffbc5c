"""`make audit`: bandit over the source, and the known vulnerabilities of the packages in an environment.

    bandit       findings - accepted_findings.toml -> must be empty, both ways
    pip-audit    packages -> advisories of PyPI -> must be empty

pip-audit reports success when no package could be looked up at all. So this counts the packages that were looked up,
and says so where there are none: without a network the line is a warning, and the status depends on bandit alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sumi"
ACCEPTED = Path(__file__).with_name("accepted_findings.toml")
TIMEOUT_S = 15
"""Of each request of pip-audit."""


def run_bandit() -> list[dict[str, Any]]:
    """Return bandit's findings in the source, with `filename` below it."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "json", str(SOURCE)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    report = json.loads(ran.stdout)
    if report["errors"]:
        sys.exit(f"bandit could not read {report['errors']}")
    results: list[dict[str, Any]] = report["results"]
    return [one | {"filename": Path(one["filename"]).relative_to(SOURCE).as_posix()} for one in results]


def load_accepted() -> list[dict[str, Any]]:
    """Return the rows of the findings that have a reason."""
    rows: list[dict[str, Any]] = tomllib.loads(ACCEPTED.read_text("utf-8"))["accepted"]
    return rows


def compare_findings(findings: Sequence[Mapping[str, Any]], accepted: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each finding that has no reason, and for each reason that has no finding."""
    rows = {(row["test"], row["path"]): row for row in accepted}
    counts = Counter((one["test_id"], one["filename"]) for one in findings)
    for one in findings:
        key = one["test_id"], one["filename"]
        row = rows.get(key) or rows.get((key[0], "*"))
        if row is None or counts[key] > row.get("count", counts[key]):
            yield f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}"
    for (test, path), row in rows.items():
        found = sum(count for (name, file), count in counts.items() if name == test and path in (file, "*"))
        if found < row.get("count", 1):
            yield f"{ACCEPTED.name}: {test} in {path} is accepted {row.get('count', 1)} times and found {found} times"


def run_pip_audit(python: str) -> str:
    """Return what pip-audit writes as JSON about the environment of an interpreter; "" where it ends without."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--path", packages, "--skip-editable"]
    options = ["--progress-spinner", "off", "--timeout", str(TIMEOUT_S)]
    return subprocess.run([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def read_advisories(report: str) -> tuple[int, int, list[str]]:
    """Return how many packages were looked up, how many were not, and a line for each vulnerability.

    Args:
        report: pip-audit's JSON; anything else stands for a network that cannot be reached.
    """
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, 0, []
    looked_up = [one for one in packages if "skip_reason" not in one]
    lines = [
        f"{one['name']} {one['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'no version'}"
        for one in looked_up
        for found in one["vulns"]
    ]
    return len(looked_up), len(packages) - len(looked_up), lines


def main(python: str) -> int:
    """Print the result of both, and return 1 where either found something.

    Args:
        python: the interpreter whose packages are looked up.
    """
    findings = run_bandit()
    faults = list(compare_findings(findings, load_accepted()))
    print("\n".join([*faults, f"bandit: {len(findings)} findings with a reason" if not faults else "bandit: FAILED"]))
    looked_up, skipped, lines = read_advisories(run_pip_audit(python))
    print("\n".join(lines), end="\n" if lines else "")
    if not looked_up:
        print("pip-audit: NOT CHECKED: the advisories of PyPI cannot be reached from here; run it again with a network")
    else:
        missing = f"; {skipped} are unknown there and were not checked" if skipped else ""
        print(f"pip-audit: {len(lines)} known vulnerabilities in {looked_up} packages{missing}")
    return int(bool(faults or lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
