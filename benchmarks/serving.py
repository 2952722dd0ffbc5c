"""What it gains that requests share steps: throughput and waiting over HTTP, beside one request after another.

    python benchmarks/serving.py [--quick] [--model DIR] [--clients 1 4 16 64] [--size PX] [--out FILE]

Two servers of the same weights, one as it is (`together`) and one with `--running 1` (`in turn`), are asked one after
the other by the same clients for the same pictures. Each client asks for a picture, as a stream with previews, reads it
to its end, and asks for the next; the numbers of steps are mixed. All clients begin at once, and no request is left out
of the figures. p50 and p99: seconds from asking for a picture to having it whole. First preview: the median of the
seconds until there is something to see. A row is a sample in a step of the decoder: how many shared one on average.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from served import Served, machine, quantile, served

PROMPTS = ("a red fox", "a dog wearing a hat", "two blue cars", "a cat beside a tree", "a green apple")
STEPS = (8, 12, 20, 40)
PREVIEWS = 2
REQUESTS = {1: 12, 4: 6, 16: 4, 64: 2}
"""How many pictures each client asks for, by the number of clients."""
WAYS = {"in turn": ("--running", "1"), "together": ()}
MOST_P50, LEAST_THROUGHPUT, AT = 0.5, 1.2, 16
"""What is aimed at: that share of the p50, and that many times the pictures, with so many clients."""


@dataclass
class Seen:
    """What clients saw, a number a request."""

    waited_s: list[float] = field(default_factory=list)
    first_preview_s: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder of the model; default the one that comes with Sumi")
    parser.add_argument("--clients", type=int, nargs="+", default=list(REQUESTS))
    parser.add_argument("--size", type=int, default=256, help="pixels a side (256)")
    parser.add_argument("--quick", action="store_true", help="see whether it works: 64 px, 1 and 4 clients, no file")
    parser.add_argument("--out", help="where to write; default docs/serving-benchmark.json, and nowhere with --quick")
    options = parser.parse_args(arguments)
    if options.quick:
        options.clients, options.size = [1, 4], 64
    here, started = machine(), time.perf_counter()
    rows = asyncio.run(measured(options.model, options.clients, options.size))
    report = {"machine": here, "steps": STEPS, "size": options.size, "rows": rows}
    report |= {"minutes": round((time.perf_counter() - started) / 60, 1)}
    print(told(report))
    out = options.out or (None if options.quick else Path(__file__).parents[1] / "docs" / "serving-benchmark.json")
    if out:
        Path(out).write_text(json.dumps(report, indent=1) + "\n", "utf-8")


async def measured(model: str | None, clients: Sequence[int], size: int) -> list[dict[str, Any]]:
    """A row for each number of clients and each way."""
    rows = []
    with served(*WAYS["in turn"], model=model) as (one, _), served(*WAYS["together"], model=model) as (many, _):
        for server in (one, many):
            await together(server, 1, 1, size)  # whatever is slow the first time
        for count in clients:
            for way, server in zip(WAYS, (one, many), strict=True):
                figures = await together(server, count, REQUESTS.get(count, 2), size)
                rows.append({"clients": count, "way": way} | {name: round(figures[name], 3) for name in figures})
                print(f"{count} clients, {way}: done", flush=True)
    return rows


async def together(server: Served, clients: int, requests: int, size: int) -> dict[str, float]:
    """Let so many clients ask at once; return pictures a second, and the seconds that they waited."""
    seen, before = Seen(), decoded(server)
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=600, trust_env=False, limits=limits) as http:
        started = time.perf_counter()
        await asyncio.gather(*(client(http, number, requests, size, seen) for number in range(clients)))
        seconds = time.perf_counter() - started
    steps, rows = (now - then for now, then in zip(decoded(server), before, strict=True))
    return {
        "pictures_per_s": len(seen.waited_s) / seconds,
        "p50_s": statistics.median(seen.waited_s),
        "p99_s": quantile(seen.waited_s, 0.99),
        "first_preview_s": statistics.median(seen.first_preview_s),
        "rows_a_step": rows / steps,
    }


def decoded(server: Served) -> tuple[float, float]:
    """How many steps the decoder has taken, and of how many rows."""
    steps, rows = (server.metric(f"sumi_engine_{what}_total", stage="decoder") for what in ("steps", "rows"))
    return steps, rows


async def client(http: httpx.AsyncClient, number: int, requests: int, size: int, seen: Seen) -> None:
    """Ask for one picture after another."""
    for turn in range(requests):
        which = number + turn
        wish = {"prompt": PROMPTS[which % len(PROMPTS)], "size": f"{size}x{size}", "steps": STEPS[which % len(STEPS)]}
        body = wish | {"seed": which, "stream": True, "partial_images": PREVIEWS}
        asked, first, end = time.perf_counter(), None, b""
        async with http.stream("POST", "/v1/images/generations", json=body) as reply:
            async for piece in reply.aiter_raw():
                if first is None and b"partial_image" in piece:
                    first = time.perf_counter() - asked
                end = (end + piece)[-100:]
        if reply.status_code != 200 or first is None or not end.endswith(b"data: [DONE]\n\n"):
            raise SystemExit(f"a request was answered {reply.status_code}: {end.decode(errors='replace')}")
        seen.waited_s.append(time.perf_counter() - asked)
        seen.first_preview_s.append(first)


def told(report: dict[str, Any]) -> str:
    """The report as a table, with what was gained under each pair, and whether it is what was aimed at."""
    cores, steps = report["machine"]["cores"], ", ".join(map(str, report["steps"]))
    lines = [f"{cores} cores; {report['size']} px; {steps} decoder steps in turn; {report['minutes']} minutes"]
    lines += ["clients  way         pictures/s     p50 s     p99 s   first preview s   rows a step"]
    for one, many in zip(report["rows"][::2], report["rows"][1::2], strict=True):
        for row in (one, many):
            waits = f"{row['p50_s']:9.2f} {row['p99_s']:9.2f} {row['first_preview_s']:17.2f}"
            lines.append(
                f"{row['clients']:7}  {row['way']:10} {row['pictures_per_s']:11.2f} {waits} {row['rows_a_step']:13.1f}"
            )
        more, less = many["pictures_per_s"] / one["pictures_per_s"], many["p50_s"] / one["p50_s"]
        lines.append(f"         gain: {more:.2f}x the pictures, {less:.2f}x the p50")
        if one["clients"] == AT:
            met = "met" if more >= LEAST_THROUGHPUT and less <= MOST_P50 else "missed"
            lines.append(f"         aim: at least {LEAST_THROUGHPUT}x and at most {MOST_P50}x: {met}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
