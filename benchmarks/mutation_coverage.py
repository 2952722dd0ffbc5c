"""Which test runs which lines of the source, and for how much processor time.

`record_coverage` runs each test file once under `coverage` and keeps the result in `runs/mutation`. A kept result holds
until the test file, the modules that tests share, or a source file that its tests run changes. The setup of a fixture
that several tests share counts for each test that uses the fixture.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mutants import ROOT, SOURCE, Mutant

TESTS, CACHE = ROOT / "tests", ROOT / "runs" / "mutation"


@dataclass
class Coverage:
    """What tests run. A test is its pytest node id; a shared fixture is "fixture NAME" of its test file."""

    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    fixtures: dict[str, list[str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def tests(self) -> list[str]:
        """The tests that pass without a mutant."""
        return [test for test in self.fixtures if test not in set(self.failed)]

    def lines_of(self, test: str, path: str) -> set[int]:
        """Return the lines of a source file that a test or its fixtures run."""
        return {line for name in (test, *self.fixtures[test]) for line in self.lines.get(name, {}).get(path, ())}

    def paths_of(self, test: str) -> set[str]:
        """Return the source files of which a test or its fixtures run a line."""
        return {path for name in (test, *self.fixtures[test]) for path in self.lines.get(name, {})}

    def seconds_of(self, tests: Iterable[str]) -> float:
        """Return the processor time of tests without a mutant, each shared fixture once."""
        tests = list(tests)
        names = {*tests, *(name for test in tests for name in self.fixtures[test])}
        return sum(self.seconds.get(name, 0.0) for name in names)


def record_coverage(folders: Sequence[str]) -> Coverage:
    """Return what the tests of some folders or files below `tests` run, from `runs/mutation` or by running them."""
    places = [TESTS / folder for folder in folders]
    files = [file for place in places for file in (sorted(place.rglob("test_*.py")) if place.is_dir() else [place])]
    CACHE.mkdir(parents=True, exist_ok=True)
    if stale := [str(file) for file in files if _load(file) is None]:
        print(f"recording what the tests of {len(stale)} files run", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, __file__, *stale], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    total = Coverage()
    for file in files:
        found = _load(file)
        if found is not None:
            total.failed += found.failed
            total.fixtures |= found.fixtures
            total.lines |= found.lines
            total.seconds |= found.seconds
    return total


def select_tests(mutant: Mutant, coverage: Coverage, budget_s: float) -> list[str]:
    """Return the tests that may kill a mutant, the likeliest first, as many as `budget_s` seconds hold.

    They are the tests that run its line. What takes effect at import, such as a default, meets every test that runs a
    line of its file, or else of its folder.
    """
    folder = str(Path(mutant.path).parent)
    if not mutant.at_import:
        tests = [test for test in coverage.tests if mutant.line in coverage.lines_of(test, mutant.path)]
    else:
        tests = [test for test in coverage.tests if mutant.path in coverage.paths_of(test)] or [
            test for test in coverage.tests if any(str(Path(path).parent) == folder for path in coverage.paths_of(test))
        ]
    stem, room = f"/test_{Path(mutant.path).stem}.py", f"tests/{folder.split('/')[0]}/"
    tests.sort(key=lambda test: (stem not in test, not test.startswith(room), coverage.seconds_of([test])))
    chosen: list[str] = []
    for test in tests:
        if not chosen or coverage.seconds_of([*chosen, test]) <= budget_s:
            chosen.append(test)
    return chosen


def digest_of(paths: Iterable[Path]) -> str:
    """Return a short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.exists() else b"absent")
    return digest.hexdigest()[:16]


def _cached(test_file: Path) -> Path:
    name = test_file.relative_to(TESTS).with_suffix("").as_posix().replace("/", "-")
    return CACHE / f"coverage-{name}.json"


def _load(test_file: Path) -> Coverage | None:
    """Return the kept result of a test file; None where there is none, or a file that it depends on has changed."""
    if not _cached(test_file).exists():
        return None
    found = Coverage(**json.loads(_cached(test_file).read_text("utf-8")))
    return found if all(digest_of([ROOT / path]) == digest for path, digest in found.digests.items()) else None


class _Recorder:
    """A pytest plugin that tells `coverage` which test or shared fixture runs, and keeps what each test file does."""

    def __init__(self, measured: Any) -> None:
        self.measured = measured
        self.found, self.of_session = Coverage(), Coverage()
        self.session_fixtures: set[str] = set()
        self.context, self.since = "", time.process_time()

    def _switch(self, context: str) -> None:
        now, seconds = time.process_time(), self.found.seconds
        seconds[self.context] = seconds.get(self.context, 0.0) + now - self.since
        self.context, self.since = context, now
        self.measured.switch_context(context)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Generator[None, Any, Any]:
        self.found.fixtures[item.nodeid] = list(item.fixturenames)
        self._switch(item.nodeid)
        result = yield
        self._switch("")
        if nextitem is None or nextitem.path != item.path:
            self._keep(item.path)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        before = self.context
        if fixturedef.scope != "function":
            self._switch(f"fixture {fixturedef.argname}")
        if fixturedef.scope == "session":
            self.session_fixtures.add(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            if self.context != before:
                self._switch(before)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.outcome != "passed" and report.nodeid not in self.found.failed:
            self.found.failed.append(report.nodeid)

    def _keep(self, test_file: Path) -> None:
        """Write what the tests of a file run, and begin with the next one; the fixtures of the session stay."""
        self.measured.stop()
        data, found = self.measured.get_data(), self.found
        for file in data.measured_files():
            for line, names in data.contexts_by_lineno(file).items():
                for name in filter(None, names):
                    found.lines.setdefault(name, {}).setdefault(str(Path(file).relative_to(SOURCE)), []).append(line)
        for name in self.session_fixtures:
            if name in found.lines:
                self.of_session.lines[name] = found.lines[name]
                self.of_session.seconds[name] = found.seconds[name]
        found.lines |= self.of_session.lines
        found.seconds |= self.of_session.seconds
        helpers = [path for path in TESTS.rglob("*.py") if not path.name.startswith("test_")]
        sources = {SOURCE / path for lines in found.lines.values() for path in lines}
        for path in [test_file, *sorted(helpers), *sorted(sources)]:
            found.digests[str(path.relative_to(ROOT))] = digest_of([path])
        _cached(test_file).write_text(json.dumps(vars(_qualified(found, test_file))), encoding="utf-8")
        self.found = Coverage()
        self.measured.erase()
        self.measured.start()


def _qualified(found: Coverage, test_file: Path) -> Coverage:
    """Return the coverage with its fixtures named by the test file too: two files may have one of the same name."""
    shared = {name: f"{test_file}: {name}" for name in {*found.lines, *found.seconds} if name.startswith("fixture ")}
    return Coverage(
        lines={shared.get(name, name): lines for name, lines in found.lines.items()},
        seconds={shared.get(name, name): seconds for name, seconds in found.seconds.items() if name},
        fixtures={
            test: [shared[f"fixture {name}"] for name in names if f"fixture {name}" in shared]
            for test, names in found.fixtures.items()
        },
        failed=found.failed,
        digests=found.digests,
    )


def _main(*test_files: str) -> int:
    """Run test files under `coverage` and write what the tests of each run; return 0 where they ran."""
    import coverage

    measured = coverage.Coverage(data_file=None, source=[str(SOURCE)])
    measured.start()
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    status = pytest.main([*options, *test_files], plugins=[_Recorder(measured)])
    return 0 if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else int(status)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
