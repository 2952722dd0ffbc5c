"""Mutation testing: count the small faults in the code that the tests miss.

    python benchmarks/mutation.py -n 160 --seed 1       # a sample
    python benchmarks/mutation.py --only diffusion/loss # every fault of some files
    python benchmarks/mutation.py --named               # the faults of named_faults.toml

`faults.py` finds the faults. Each one lives in a process forked from this one, which has PyTorch imported; there the
changed source is imported in place of the file, so no file is written. Only the tests that execute the changed line
run, those of the same name as the file first, until `--budget` seconds of tests are chosen.

Which test executes which lines, and how long it takes, is recorded by running each test file once under `coverage`, and
kept in `runs/mutation` under the hash of the source and of that file. A test that fails without a fault is left out. A
fault whose tests run far longer than without it (five times and 30 s more) counts as noticed: it hangs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from faults import ROOMS, ROOT, SOURCE, Fault, faults, named_faults

TESTS, RUN = ROOT / "tests", ROOT / "runs" / "mutation"
TESTED_BY = ("diffusion", "systems", "training", "evaluation", "codecs", "conditioning")
WEIGHTS = {"diffusion": 0.35, "training": 0.25, "systems": 0.25, "evaluation": 0.15}
"""How much of a sample falls to each room."""


@dataclass
class Record:
    """What the tests of one file do: test -> lines executed, by source file; test -> seconds; import-time files."""

    lines: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class _Recorder:
    """A pytest plugin that tells coverage which test runs, its fixtures included."""

    def __init__(self, measured: Any) -> None:
        self.measured, self.record = measured, Record()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.measured.switch_context(nodeid.split("[")[0])

    def pytest_runtest_logreport(self, report: Any) -> None:
        name, seconds = report.nodeid.split("[")[0], self.record.seconds
        seconds[name] = seconds.get(name, 0.0) + report.duration
        if report.failed:
            self.record.failed.append(name)


def _hash(test: Path) -> str:
    """Of all source, of what the tests share, and of one test file."""
    shared = (path for path in TESTS.rglob("*.py") if not path.name.startswith("test_"))
    digest = hashlib.sha256()
    for path in (*sorted(SOURCE.rglob("*.py")), *sorted(shared), test):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def recorded(test: Path) -> Record:
    """Return the record of a test file, from `runs/mutation` or by running it."""
    kept = RUN / f"{test.parent.name}-{test.stem}-{_hash(test)}.json"
    if not kept.exists():
        RUN.mkdir(parents=True, exist_ok=True)
        print(f"recording {test.relative_to(ROOT)}", file=sys.stderr, flush=True)
        forked(lambda: _record(test, kept), limit_s=1800)
    return Record(**json.loads(kept.read_text("utf-8"))) if kept.exists() else Record()


def _record(test: Path, kept: Path) -> int:
    """In a child: run the tests of a file under coverage, and write what they did."""
    import coverage
    import pytest

    measured = coverage.Coverage(data_file=None, source=[str(SOURCE)])
    recorder = _Recorder(measured)
    measured.start()
    pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(test)], plugins=[recorder])
    measured.stop()
    data = measured.get_data()
    for file in data.measured_files():
        path = str(Path(file).relative_to(SOURCE))
        for line, names in data.contexts_by_lineno(file).items():
            for name in names:
                recorder.record.lines.setdefault(name, {}).setdefault(path, []).append(line)
    kept.write_text(json.dumps(vars(recorder.record)), encoding="utf-8")
    return 0


def records(tested_by: Sequence[str]) -> Record:
    """Return what all tests of some folders and files do, as one record."""
    found = Record()
    for name in tested_by:
        place = TESTS / name
        for test in sorted(place.rglob("test_*.py")) if place.is_dir() else [place]:
            one = recorded(test)
            for context, lines in one.lines.items():
                found.lines[context or f"import of {test.relative_to(ROOT)}"] = lines
            found.seconds |= one.seconds
            found.failed += one.failed
    return found


def tests_of(fault: Fault, record: Record, budget_s: float) -> list[str]:
    """Return the tests that execute a fault's line, as pytest names them, those of its own file first.

    Of a line that runs at import alone, such as a default, they are all tests that execute anything of the file.
    """
    inside = {name: set(files[fault.path]) for name, files in record.lines.items() if fault.path in files}
    named = {name for name, lines in inside.items() if fault.line in lines and name in record.seconds}
    tests = named or {name for name in inside if name in record.seconds}
    stem, room = f"/test_{Path(fault.path).stem}.py", f"tests/{fault.path.split('/')[0]}/"
    order = sorted(
        tests - set(record.failed),
        key=lambda name: (stem not in name, not name.startswith(room), record.seconds[name]),
    )
    chosen: list[str] = []
    for name in order:
        if not chosen or seconds_of([*chosen, name], record) <= budget_s:
            chosen.append(name)
    return chosen


def seconds_of(tests: Sequence[str], record: Record) -> float:
    """How long tests take without a fault."""
    return sum(record.seconds.get(name, 0.0) for name in tests)


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


def forked(work: Callable[[], int], limit_s: float) -> int | None:
    """Do work in a quiet process of its own, and return its exit status; None where it had to be stopped."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os.chdir(ROOT)
            status = work()
        finally:
            os._exit(status)
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def survives(fault: Fault | None, tests: Sequence[str], unchanged_s: float) -> bool:
    """Return whether all tests pass with a fault, or without one. unchanged_s: how long they take without it."""

    def work() -> int:
        import pytest

        if fault is not None:
            sys.meta_path.insert(0, _Finder(fault))
        return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))

    return forked(work, limit_s=30 + 5 * unchanged_s) == 0


def tried(chosen: Sequence[Fault], record: Record, budget_s: float) -> Iterator[tuple[Fault, str]]:
    """Yield each fault with what became of it: noticed, survived, or untested where no test runs its line."""
    quickest = min(set(record.seconds) - set(record.failed), key=record.seconds.__getitem__)
    if not survives(None, [quickest], 60):
        raise RuntimeError(f"{quickest} fails here without a fault, so that nothing can be told by failures")
    for fault in chosen:
        tests = tests_of(fault, record, budget_s)
        fate = "untested" if not tests else "noticed"
        if tests and survives(fault, tests, seconds_of(tests, record)):
            fate = "survived"
        yield fault, fate


def sampled(every: Sequence[Fault], count: int | None, seed: int) -> list[Fault]:
    """Draw faults room by room, by `WEIGHTS`; all of them where no count is given."""
    if count is None:
        return list(every)
    chosen: list[Fault] = []
    for room in ROOMS:
        inside = [fault for fault in every if fault.path.startswith(f"{room}/")]
        chosen += random.Random(f"{room} {seed}").sample(inside, min(len(inside), round(count * WEIGHTS[room])))
    return chosen


def share(left: Sequence[int], tried: Sequence[int], sizes: Sequence[int]) -> tuple[float, float, float]:
    """Return the share of faults left in rooms of these sizes, with Wilson's 95 per cent interval.

    The rooms weigh by their sizes; the interval is that of so many faults as would give the same variance.
    """
    rates = [few / many for few, many in zip(left, tried, strict=True)]
    weights = [size / sum(sizes) for size in sizes]
    p = sum(weight * rate for weight, rate in zip(weights, rates, strict=True))
    parts = zip(weights, rates, tried, strict=True)
    variance = sum(weight**2 * rate * (1 - rate) / many for weight, rate, many in parts)
    n, z = (p * (1 - p) / variance if variance else sum(tried)), 1.96
    middle, reach = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return p, (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)


def summary(every: Sequence[Fault], fates: dict[Fault, str]) -> Iterator[str]:
    """Yield a line a room, and one for all."""
    counts = []
    for room in ROOMS:
        size = sum(fault.path.startswith(f"{room}/") for fault in every)
        inside = Counter(fate for fault, fate in fates.items() if fault.path.startswith(f"{room}/"))
        if inside.total():
            left = inside.total() - inside["noticed"]
            counts.append((left, inside.total(), size))
            yield f"{room}: {size} faults, {inside.total()} tried, {left} left ({left / inside.total():.1%})"
    if counts:
        value, low, high = share(*zip(*counts, strict=True))
        yield f"all: {len(every)} faults, {len(fates)} tried, {value:.1%} left ({low:.1%} to {high:.1%})"


def try_named() -> bool:
    """Try every named fault by the test files named with it, and return whether all are noticed."""
    named, unchanged_s, left = named_faults(), dict[str, float](), 0
    for test in sorted({test for one in named for test in one.tests}):
        started = time.monotonic()
        if not survives(None, [f"tests/{test}"], 300):
            raise RuntimeError(f"tests/{test} fails without a fault")
        unchanged_s[test] = time.monotonic() - started
    for one in named:
        caught = not survives(
            one.fault, [f"tests/{test}" for test in one.tests], sum(unchanged_s[test] for test in one.tests)
        )
        left += not caught
        print(f"{'noticed' if caught else 'survived'}: {one.what}", flush=True)
    print(f"{len(named)} named faults, {left} left")
    return not left


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the small faults in the code that the tests miss.")
    parser.add_argument("-n", type=int, help="how many faults, drawn at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", metavar="PATH", help="the beginning of a path, such as diffusion/loss.py")
    parser.add_argument("--named", action="store_true", help="try the faults of named_faults.toml instead")
    parser.add_argument("--budget", type=float, default=60.0, metavar="S", help="seconds of tests a fault; default 60")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try only what an earlier run's output has left")
    options = parser.parse_args()
    import pytest  # noqa: F401 - imported once here, not in every child
    import torch  # noqa: F401

    if options.named:
        sys.exit(not try_named())
    record, every = records(TESTED_BY), faults(options.only)
    chosen = sampled(every, options.n, options.seed)
    if options.again:
        lines = options.again.read_text("utf-8").splitlines()
        chosen = [fault for fault in chosen if any(line.endswith(f": {fault}") for line in lines)]
    fates: dict[Fault, str] = {}
    for fault, fate in tried(chosen, record, options.budget):
        fates[fault] = fate
        print(f"{fate}: {fault}", flush=True)
    print(*summary(every, fates), sep="\n")


if __name__ == "__main__":
    main()
