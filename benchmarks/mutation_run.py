"""Runs tests on mutants without writing a source file.

pytest collects the tests once. Each mutant gets a process forked from there, in which the code of the functions that it
changes is swapped. A change that takes effect when a module is imported (a default, a constant, a dataclass field)
needs a new interpreter, which imports the changed source in place of the file.

A test kills a mutant when it fails. The same test must pass alone without the mutant, or else its failure says nothing.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutants import ROOT, SOURCE, Mutant
from mutation_coverage import Coverage

OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist")
PATIENCE = 20
"""A child that has not ended after so many times its limit of processor time waits for something for ever."""
KILLED, BROKEN = (1, 2), 70
"""The exit statuses of pytest for a failed test and for a module that cannot be imported; that of a fault in here."""


@dataclass(frozen=True)
class Result:
    """What became of a mutant: killed, timeout, survived, or uncovered where no test runs its file."""

    mutant: Mutant
    fate: str
    killer: str = ""
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        """Whether no test noticed it."""
        return self.fate in ("survived", "uncovered")


def run_mutants(
    tests: Mapping[Mutant, Sequence[str]], coverage: Coverage, jobs: int, report: Callable[[Result], None]
) -> None:
    """Run each mutant's tests, and report each result as it comes.

    Args:
        tests: the node ids of the tests of each mutant.
        coverage: the processor time of the tests without a mutant. Five times that and 30 s more is a timeout.
        jobs: how many processes run at a time.
        report: gets each result.
    """
    for mutant in [mutant for mutant, some in tests.items() if not some]:
        report(Result(mutant, "uncovered"))
    files = sorted({test.partition("::")[0] for some in tests.values() for test in some})
    if files:
        plugin = _Loop({mutant: some for mutant, some in tests.items() if some}, coverage, jobs, report)
        pytest.main([*OPTIONS, "-qq", "-s", "--no-summary", *files], plugins=[plugin])


@dataclass
class _Child:
    """A process that runs the tests of a mutant, or of none to see whether they pass without one.

    limit_s: the processor time that it may take, so that a busy machine makes no difference.
    """

    mutant: Mutant | None
    tests: Sequence[str]
    limit_s: float
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mutant-")))
    started: float = field(default_factory=time.monotonic)
    pid: int = 0

    def ended(self) -> int | None:
        """Return the exit status once it has ended, and None before. A child that waits for ever is killed."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if self.seconds < PATIENCE * self.limit_s:
            return None
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return -signal.SIGXCPU

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def failed_test(self) -> str:
        """Return the test that failed, and forget the process's files."""
        note = self.folder / "failed"
        name = note.read_text("utf-8") if note.exists() else ""
        shutil.rmtree(self.folder, ignore_errors=True)
        return name


class _Loop:
    """A pytest plugin that tries mutants in place of running the tests that pytest collected."""

    def __init__(
        self, tests: Mapping[Mutant, Sequence[str]], coverage: Coverage, jobs: int, report: Callable[[Result], None]
    ) -> None:
        self.tests, self.coverage, self.jobs, self.report = tests, coverage, jobs, report
        self.passes: dict[str, bool] = {}

    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        waiting, running = list(self.tests)[::-1], list[_Child]()
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                tests = [test for test in self.tests[mutant] if self.passes.get(test, True)]
                running.append(self._start(mutant, tests))
            time.sleep(0.02)
            for child in running[:]:
                if (status := child.ended()) is not None:
                    running.remove(child)
                    if not self._conclude(child, status):
                        waiting.append(child.mutant)  # type: ignore[arg-type]
        return True

    def _conclude(self, child: _Child, status: int) -> bool:
        """Report what became of a mutant; False where its killer fails without it too."""
        seconds, killer = round(child.seconds, 1), child.failed_test()
        if killer and killer not in self.passes:
            alone = self._start(None, [killer])
            while (passed := alone.ended()) is None:
                time.sleep(0.02)
            alone.failed_test()
            self.passes[killer] = passed == 0
        if killer and not self.passes[killer]:
            print(f"{killer} fails without a mutant and is left out", file=sys.stderr, flush=True)
            return False
        if status == BROKEN:
            raise RuntimeError(f"could not run the tests of {child.mutant}")
        fate = "timeout" if status == -signal.SIGXCPU else "killed" if status in KILLED or status < 0 else "survived"
        assert child.mutant is not None
        self.report(Result(child.mutant, fate, killer, seconds))
        return True

    def _start(self, mutant: Mutant | None, tests: Sequence[str]) -> _Child:
        child = _Child(mutant, tests, 30 + 5 * self.coverage.seconds_of(tests))
        child.pid = os.fork()
        if child.pid == 0:
            try:
                self._work(child)
            finally:
                os._exit(BROKEN)
        return child

    def _work(self, child: _Child) -> None:
        """In the child: run the tests here, or in a new interpreter where functions alone cannot show the mutant."""
        os.setsid()
        resource.setrlimit(
            resource.RLIMIT_CPU, (math.ceil(time.process_time() + child.limit_s), resource.RLIM_INFINITY)
        )
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.environ |= {"PYTEST_DEBUG_TEMPROOT": str(child.folder), "MUTATION_FAILED": str(child.folder / "failed")}
        if child.mutant is None or swap_code(child.mutant):
            os._exit(int(self._fails(child.tests)))
        command = [sys.executable, __file__, json.dumps(asdict(child.mutant)), *child.tests]
        os.execv(sys.executable, command)

    def _fails(self, tests: Sequence[str]) -> bool:
        """Return whether one of the tests fails, running them up to that one."""
        items = [self.items[test] for test in tests if test in self.items]
        noting = _NoteFailure()
        if items:
            items[0].config.pluginmanager.register(noting)
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if noting.failed:
                return True
        return False


class _NoteFailure:
    """A pytest plugin that writes the name of the test that failed into the file `MUTATION_FAILED`."""

    failed = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = True
            Path(os.environ["MUTATION_FAILED"]).write_text(report.nodeid, encoding="utf-8")


# Code swapped in this process. ---------------------------------------------------------------------------------------


def swap_code(mutant: Mutant) -> bool:
    """Change the functions of this process as a mutant does; False where that cannot show its whole effect."""
    file = str(SOURCE / mutant.path)
    before = dict(_codes(compile((SOURCE / mutant.path).read_bytes(), file, "exec", dont_inherit=True)))
    after = dict(_codes(compile(mutant.applied(), file, "exec", dont_inherit=True)))
    changed = {key for key in before if key in after and not _same(before[key], after[key])}
    if before.keys() != after.keys() or any(
        not before[key].co_flags & inspect.CO_OPTIMIZED and not _same(before[key], after[key], nested=False)
        for key in changed
    ):
        return False  # a module or a class body changes
    functions = [one for one in gc.get_objects() if type(one) is FunctionType and one.__code__.co_filename == file]
    keys = [(one.__code__.co_qualname, one.__code__.co_firstlineno) for one in functions]
    for one, key in zip(functions, keys, strict=True):
        if key in changed:
            one.__code__ = after[key]
    return bool(changed.intersection(keys))


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    yield (code.co_qualname, code.co_firstlineno), code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _same(one: CodeType, other: CodeType, nested: bool = True) -> bool:
    """Whether two code objects do the same; `nested`: the functions inside them too."""
    if (one.co_code, one.co_names, len(one.co_consts)) != (other.co_code, other.co_names, len(other.co_consts)):
        return False
    return all(
        not nested or _same(a, b)
        if isinstance(a, CodeType) and isinstance(b, CodeType)
        else (type(a), repr(a)) == (type(b), repr(b))
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


# Source imported in a new interpreter. -------------------------------------------------------------------------------


class _MutantLoader(SourceFileLoader):
    """Loads a module from other source than its file holds, and keeps no bytecode of it."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.source = source

    def get_data(self, path: str | os.PathLike[str]) -> bytes:
        return self.source if str(path) == self.path else super().get_data(str(path))

    def path_stats(self, path: str | bytes | os.PathLike[str]) -> dict[str, float]:
        raise OSError("no bytecode")


class _MutantImporter:
    """Finds the changed module before any other finder does."""

    def __init__(self, mutant: Mutant) -> None:
        parts = ["sumi", *mutant.path.removesuffix(".py").split("/")]
        self.package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.package else parts)
        self.file, self.source = str(SOURCE / mutant.path), mutant.applied()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = _MutantLoader(name, self.file, self.source)
        places = [str(Path(self.file).parent)] if self.package else None
        return importlib.util.spec_from_file_location(name, self.file, loader=loader, submodule_search_locations=places)


def _main(mutant: str, *tests: str) -> int:
    os.chdir(ROOT)
    sys.meta_path.insert(0, _MutantImporter(Mutant(**json.loads(mutant))))
    return int(pytest.main([*OPTIONS, *tests], plugins=[_NoteFailure()]))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
