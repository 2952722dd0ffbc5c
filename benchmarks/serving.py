"""What it gains that requests share steps: throughput and waiting, beside one request after another.

    python benchmarks/serving.py [--model DIR] [--clients 1 4 16 64] [--requests 3] [--size 64] [--json]

Each client asks for one picture, waits for its file, and asks for the next; the numbers of steps are mixed. Both ways
use the same engine, model, requests and previews, one way after the other for each number of clients: `together`, the
engine as it is, and `in turn`, the engine with room for a single request. p50 and p99: seconds from asking for a
picture to its file. First preview: the median of the seconds until there is something to see.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import sumi
from sumi.pipelines import Request, Sumi
from sumi.serving import Advanced, Engine, Limits

PROMPTS = ("a red fox", "a dog wearing a hat", "two blue cars", "a cat beside a tree", "a green apple")
STEPS = (8, 12, 20, 40)
WAYS = {"in turn": Limits(running=1), "together": Limits()}


@dataclass
class Seen:
    """What clients saw, a number a request."""

    waited_s: list[float] = field(default_factory=list)
    first_preview_s: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder of the model; default the one that comes with Sumi")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--requests", type=int, default=3, help="pictures each client asks for (3)")
    parser.add_argument("--size", type=int, help="pixels a side; default the model's largest")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    artist = sumi.load(options.model)
    assert isinstance(artist, Sumi)
    artist.generate(PROMPTS[0], size=options.size, seed=0)
    rows = [
        {"clients": clients, "way": way} | measure(artist, limits, clients, options.requests, options.size)
        for clients in options.clients
        for way, limits in WAYS.items()
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    report = {"cores": cores, "threads": torch.get_num_threads(), "steps": STEPS, "size": options.size, "rows": rows}
    print(json.dumps(report) if options.json else told(report))


def measure(artist: Sumi, limits: Limits, clients: int, requests: int, size: int | None) -> dict[str, float]:
    """Let so many clients ask at once; return pictures a second, and the seconds that they waited."""
    seen = Seen()
    with Engine(artist, limits) as engine:
        threads = [
            threading.Thread(target=client, args=(engine, number, requests, size, seen)) for number in range(clients)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, figures = time.perf_counter() - started, engine.metrics()
    return {
        "pictures_per_s": clients * requests / seconds,
        "p50_s": statistics.median(seen.waited_s),
        "p99_s": sorted(seen.waited_s)[math.ceil(0.99 * len(seen.waited_s)) - 1],
        "first_preview_s": statistics.median(seen.first_preview_s),
        "rows_a_step": figures.stages["decoder"].rows / figures.stages["decoder"].steps,
        "other_share": figures.other_s / seconds,
    }


def client(engine: Engine, number: int, requests: int, size: int | None, seen: Seen) -> None:
    """Ask for one picture after another."""
    for turn in range(requests):
        which = number + turn
        wish = Request(PROMPTS[which % len(PROMPTS)], steps=STEPS[which % len(STEPS)], seed=which, size=size)
        asked, first = time.perf_counter(), None
        for report in engine.submit(wish, key=str(number), previews=4):
            if first is None and isinstance(report, Advanced) and report.levels is not None:
                first = time.perf_counter() - asked
                seen.first_preview_s.append(first)
        seen.waited_s.append(time.perf_counter() - asked)


def told(report: dict[str, Any]) -> str:
    """The report as a table, with what was gained under each pair."""
    lines = [f"{report['cores']} cores, {report['threads']} threads; decoder steps {report['steps']} in turn"]
    lines += ["clients  way         pictures/s     p50 s     p99 s   first preview s   rows a step"]
    for one, many in zip(report["rows"][::2], report["rows"][1::2], strict=True):
        for row in (one, many):
            waits = f"{row['p50_s']:9.2f} {row['p99_s']:9.2f} {row['first_preview_s']:17.2f}"
            lines.append(
                f"{row['clients']:7}  {row['way']:10} {row['pictures_per_s']:11.2f} {waits} {row['rows_a_step']:13.1f}"
            )
        gained = many["pictures_per_s"] / one["pictures_per_s"]
        lines.append(f"         gain: {gained:.2f}x the pictures, {many['p50_s'] / one['p50_s']:.2f}x the p50")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
