"""Mutation testing: the share of small changes to the code that the tests miss.

    python benchmarks/mutation.py -n 170 --seed 1         # a sample
    python benchmarks/mutation.py --only diffusion/loss   # every mutant of some files
    python benchmarks/mutation.py --named                 # the mutants of named_mutants.toml
    python benchmarks/mutation.py --again before.json     # those that an earlier run's --json says survived

`mutants.py` finds the mutants. Each meets only the tests that run its line (`mutation_coverage.py`) and stops at the
first that fails (`mutation_run.py`). Results are kept in `runs/mutation` while the source and the tests stay the same,
so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported: a process with threads cannot be forked

from mutants import ROOMS, ROOT, SOURCE, Mutant, find_mutants, load_named_mutants
from mutation_coverage import CACHE, TESTS, digest_of, record_coverage, select_tests
from mutation_run import Result, run_mutants

TESTED_BY = (
    *ROOMS, "codecs", "conditioning", "cli/test_exam_words.py", "cli/test_exam_edits.py", "cli/test_systems.py",
    "parity/test_schedulers.py",
)  # fmt: skip
"""The folders and files of tests that are used."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Try mutants, print what became of each and the share that survived."""
    options = parse(arguments)
    os.chdir(ROOT)
    if options.named:
        sys.exit(try_named(options.jobs))
    everything = find_mutants(options.only)
    chosen = everything
    if options.n is not None:
        chosen = random.Random(options.seed).sample(everything, min(options.n, len(everything)))
    if options.again:
        survivors = {str(Mutant(**row["mutant"])) for row in json.loads(options.again.read_text("utf-8"))["survivors"]}
        chosen = [mutant for mutant in everything if str(mutant) in survivors]
    results = try_mutants(chosen, options.budget, options.jobs)
    report = summarize(results, len(everything))
    print(*report_lines(report), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure which share of small changes to the code the tests miss.")
    parser.add_argument("-n", type=int, help="how many mutants, drawn at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", metavar="PATH", help="the beginning of a path, such as diffusion/loss.py")
    parser.add_argument("--named", action="store_true", help="try the mutants of named_mutants.toml instead")
    parser.add_argument("--again", type=Path, metavar="FILE", help="try the survivors in an earlier run's --json file")
    parser.add_argument("--budget", type=float, default=60.0, metavar="S", help="seconds of tests a mutant; default 60")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many processes run tests; default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser.parse_args(arguments)


def try_mutants(chosen: Sequence[Mutant], budget_s: float, jobs: int) -> list[Result]:
    """Return the result of each mutant, from an earlier run of the same source and tests or by running its tests."""
    coverage = record_coverage([folder for folder in TESTED_BY if (TESTS / folder).exists()])
    state = digest_of([*sorted(SOURCE.rglob("*.py")), *sorted(TESTS.rglob("*.py"))])
    kept = CACHE / f"results-{state}.jsonl"
    rows = [json.loads(line) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
    earlier = [Result(**row | {"mutant": Mutant(**row["mutant"])}) for row in rows]
    results = {result.mutant: result for result in earlier if result.mutant in set(chosen)}

    def report(result: Result) -> None:
        results[result.mutant] = result
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        print(f"[{len(results)}/{len(chosen)}] {result.fate}: {result.mutant}", flush=True)

    left = {mutant: select_tests(mutant, coverage, budget_s) for mutant in chosen if mutant not in results}
    run_mutants(left, coverage, jobs, report)
    return [results[mutant] for mutant in chosen if mutant in results]


def try_named(jobs: int) -> bool:
    """Run the test files named with each named mutant; return whether one survived."""
    named = load_named_mutants()
    coverage = record_coverage(sorted({file for one in named for file in one.tests}))
    tests = {
        one.mutant: [test for test in coverage.tests if test.partition("::")[0].removeprefix("tests/") in one.tests]
        for one in named
    }
    what = {one.mutant: one.what for one in named}
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        print(f"{result.fate}: {what[result.mutant]}", flush=True)

    run_mutants(tests, coverage, jobs, report)
    survivors = sum(result.survived for result in results)
    print(f"{len(results)} named mutants, {survivors} survived")
    return survivors > 0 or len(results) < len(named)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95 per cent interval of a share (Wilson 1927, without continuity correction)."""
    z, p = 1.96, count / total
    middle, reach = p + z**2 / (2 * total), z * (p * (1 - p) / total + z**2 / (4 * total**2)) ** 0.5
    return (middle - reach) / (1 + z**2 / total), (middle + reach) / (1 + z**2 / total)


def summarize(results: Sequence[Result], population: int) -> dict[str, Any]:
    """Return the share of survivors, with its interval, in each folder, in settings, in all other code and in all.

    A setting is a number that somebody chose, such as a learning rate. Only a test that repeats the number notices it.
    """
    groups = {room: [result for result in results if result.mutant.path.startswith(f"{room}/")] for room in ROOMS}
    groups["settings"] = [result for result in results if result.mutant.is_setting]
    groups["code"] = [result for result in results if not result.mutant.is_setting]
    groups["all"] = list(results)
    rooms: dict[str, Any] = {}
    for room, inside in groups.items():
        if inside:
            count = sum(result.survived for result in inside)
            fates = dict(sorted(Counter(result.fate for result in inside).items()))
            interval = [round(end, 4) for end in wilson_interval(count, len(inside))]
            rooms[room] = {"tried": len(inside), "fates": fates, "share": count / len(inside), "interval": interval}
    survivors = [asdict(result) for result in results if result.survived]
    return {"population": population, "rooms": rooms, "survivors": survivors}


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each folder, and one for all."""
    for room, row in report["rooms"].items():
        low, high = row["interval"]
        fates = ", ".join(f"{count} {fate}" for fate, count in row["fates"].items())
        yield f"{room}: {row['tried']} tried, {row['share']:.1%} survived ({low:.1%} to {high:.1%}); {fates}"
    yield f"drawn from {report['population']} mutants"


if __name__ == "__main__":
    main()
