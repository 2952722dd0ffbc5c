"""What becomes of a server that is asked for ten times as much as it can draw, for as long as you like.

    python benchmarks/overload.py [--minutes 10] [--times 10] [--model DIR] [--out FILE]

First the pictures a second that it can draw are counted (one client for each job that is drawn at a time, each asking
again as soon as it is answered). Then requests come at so many times that rate, evenly, whether or not earlier ones
were answered: pictures as base64, as addresses and as streams, edits with uploads, and jobs; seven of ten from one
key, the others from three. Then this must be true:

    no answer is a 5xx, and every request is answered
    every refusal is a 429 with Retry-After, 99 of 100 within REFUSED_S
    99 of 100 accepted requests are answered within twice the time it takes to draw all that may wait and be drawn
    memory grows by less than GROWTH_MB a minute: the interval of the slope, of means over 15 seconds, from a fifth of
        the time, when the server has warmed up, to the last request
    told to stop, it leaves with status 0
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from served import Served, machine, quantile, served

QUEUED, RUNNING = 32, 16
REFUSED_S, GROWTH_MB = 2.0, 1.0
BLOCK_S = 15
WISH: dict[str, Any] = {"prompt": "a red fox", "steps": 8, "model": "sumi"}
"""What is asked for, at the smallest size that the model draws."""
KINDS = ("base64", "base64", "base64", "base64", "url", "stream", "stream", "edit", "job", "job")

MORE: dict[str, dict[str, Any]] = {"url": {"response_format": "url"}, "stream": {"stream": True, "partial_images": 2}}


@dataclass
class Seen:
    """What came back: status, seconds and key of each request; and how the server was, each second."""

    answers: list[tuple[int, float, int]] = field(default_factory=list)
    without_retry_after: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, float, int]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write it down, and leave with 1 where anything is not as it must be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder of the model; default the one that comes with Sumi")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--times", type=float, default=10, help="how many times what it can draw it is asked for (10)")
    parser.add_argument("--out", help="where to write; default nowhere")
    options = parser.parse_args(arguments)
    limits = ("--queued", str(QUEUED), "--running", str(RUNNING))
    here = machine()
    with served(*limits, model=options.model, keys=4) as (server, tokens):
        card = httpx.get(f"{server.url}/v1/models", headers=bearer(tokens[0]), trust_env=False).json()["data"][0]
        WISH["size"], here["model"] = card["sizes"][0], card["id"]
        capacity = asyncio.run(drawn_a_second(server, tokens))
        print(f"{capacity:.2f} pictures a second; now {options.times:g} times as many are asked for", flush=True)
        seen = asyncio.run(overloaded(server, tokens, capacity * options.times, options.minutes * 60))
    assert server.stopped is not None
    report = {"machine": here, **judged(seen, capacity, options.times, options.minutes, server.stopped)}
    print("\n".join(f"{name:36} {value}" for name, value in report.items()))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    sys.exit(bool(report["faults"]))


# Asking. -------------------------------------------------------------------------------------------------------------


async def drawn_a_second(server: Served, tokens: list[str], each: int = 2) -> float:
    """How many pictures a second it draws when it is always asked for as many as it draws at a time."""
    async with client(server) as http:

        async def ask(number: int) -> None:
            for _ in range(each):
                reply = await http.post("/v1/images/generations", json=WISH, headers=bearer(tokens[number % 4]))
                reply.raise_for_status()

        await ask(0)
        started = time.perf_counter()
        await asyncio.gather(*(ask(number) for number in range(RUNNING)))
        return RUNNING * each / (time.perf_counter() - started)


async def overloaded(server: Served, tokens: list[str], rate: float, seconds: float) -> Seen:
    """Ask at an even rate for so long, and wait for the last answer."""
    seen, tasks = Seen(), set[asyncio.Task[None]]()
    async with client(server) as http:
        watching = asyncio.create_task(watch(server, seen))
        started = time.perf_counter()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            task = asyncio.create_task(ask(http, number, tokens, seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        watching.cancel()
    return seen


async def ask(http: httpx.AsyncClient, number: int, tokens: list[str], seen: Seen) -> None:
    """Send one request and note what became of it."""
    key = max(0, number % 10 - 6)
    kind, started = KINDS[number // 10 % len(KINDS)], time.perf_counter()
    try:
        reply = await http.send(request(http, kind, number, tokens[key]))
    except httpx.HTTPError as error:
        seen.unanswered[type(error).__name__] += 1
        return
    status = 500 if b"event: error" in reply.content else reply.status_code
    seen.answers.append((status, time.perf_counter() - started, key))
    seen.without_retry_after += status == 429 and "retry-after" not in reply.headers


def request(http: httpx.AsyncClient, kind: str, number: int, token: str) -> httpx.Request:
    """A request of a kind."""
    wish, headers = WISH | {"seed": number}, bearer(token)
    if kind == "edit":
        files = {"image": ("a.png", PICTURE, "image/png")}
        return http.build_request("POST", "/v1/images/edits", data=wish, files=files, headers=headers)
    if kind == "job":
        body = {
            "prompt": wish["prompt"],
            "steps": wish["steps"],
            "seed": number,
            "kind": "generate",
            "size": int(wish["size"].partition("x")[0]),
        }
        return http.build_request("POST", "/v1/jobs", json=body, headers=headers)
    more = MORE.get(kind, {})
    return http.build_request("POST", "/v1/images/generations", json=wish | more, headers=headers)


async def watch(server: Served, seen: Seen) -> None:
    """Note each second how much memory and how many files the server has."""
    started = time.perf_counter()
    while True:
        seen.samples.append((time.perf_counter() - started, server.resident_mb, server.open_files))
        await asyncio.sleep(1)


def client(server: Served) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx.AsyncClient(base_url=server.url, timeout=600, trust_env=False, limits=limits)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def painted() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGBA").save(file, format="PNG")
    return file.getvalue()


PICTURE = painted()

# Judging. ------------------------------------------------------------------------------------------------------------


def judged(seen: Seen, capacity: float, times: float, minutes: float, stopped: tuple[int, float]) -> dict[str, Any]:
    """What was seen, and what is wrong with it."""
    accepted = [(seconds, key) for status, seconds, key in seen.answers if status in (200, 202)]
    refused = [seconds for status, seconds, _ in seen.answers if status == 429]
    statuses = Counter(status for status, _, _ in seen.answers)
    limit_s = 2 * (QUEUED + RUNNING) / capacity
    accepted_s, refused_s = quantile([seconds for seconds, _ in accepted], 0.99), quantile(refused or [0.0], 0.99)
    memory = [(at, mb) for at, mb, _ in seen.samples]
    slope, give = growth([(at, mb) for at, mb in memory if minutes * 12 < at < minutes * 60])
    most, files = max(mb for _, mb, _ in seen.samples), [count for _, _, count in seen.samples]
    faults = {
        f"{sum(seen.unanswered.values())} requests were not answered: {dict(seen.unanswered)}": bool(seen.unanswered),
        f"answers were {dict(statuses)}": statuses.keys() - {200, 202, 429},
        f"{seen.without_retry_after} refusals came without Retry-After": seen.without_retry_after,
        f"a refusal took {refused_s:.2f} s": refused_s > REFUSED_S,
        f"an accepted request took {accepted_s:.1f} s": accepted_s > limit_s,
        f"memory grows by {slope:.2f} MB a minute": slope - give > GROWTH_MB or math.isnan(slope),
        f"it left with status {stopped[0]}": stopped[0],
    }
    return {
        "minutes": minutes,
        "pictures a second it can draw": round(capacity, 2),
        "requests a second it was asked": round(capacity * times, 2),
        "answers by status": {str(status): count for status, count in sorted(statuses.items())},
        "accepted, by key": dict(sorted(Counter(key for _, key in accepted).items())),
        "accepted, p50 and p99, s": [round(quantile([s for s, _ in accepted], share), 2) for share in (0.5, 0.99)],
        "accepted, limit, s": round(limit_s, 1),
        "refused, p50 and p99, s": [round(quantile(refused or [0.0], share), 3) for share in (0.5, 0.99)],
        "memory, first, last and most, MB": [round(mb, 1) for mb in (seen.samples[0][1], seen.samples[-1][1], most)],
        "memory, mean of each minute, MB": [round(mb, 1) for mb in means(memory, 60).values()],
        "memory, MB a minute, 95% interval": [round(slope - give, 2), round(slope + give, 2)],
        "open files, first, last and most": [files[0], files[-1], max(files)],
        "left with status, after s": [stopped[0], round(stopped[1], 1)],
        "faults": [fault for fault, found in faults.items() if found],
    }


def growth(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """The slope of memory, MB a minute, and how far its 95% interval reaches to either side.

    Of means over blocks of time, since samples a second apart hardly differ and would promise more than they know.
    """
    blocks = means(samples, BLOCK_S)
    x, y = [block * BLOCK_S / 60 for block in blocks], list(blocks.values())
    if len(x) < 4:
        return math.nan, math.nan
    slope, start = statistics.linear_regression(x, y)
    error = sum((mb - start - slope * at) ** 2 for at, mb in zip(x, y, strict=True)) / (len(x) - 2)
    return slope, 2.1 * math.sqrt(error / sum((at - statistics.mean(x)) ** 2 for at in x))


def means(samples: list[tuple[float, float]], block_s: float) -> dict[int, float]:
    """The mean of each block of time, by the number of the block."""
    blocks: dict[int, list[float]] = {}
    for at, mb in samples:
        blocks.setdefault(int(at // block_s), []).append(mb)
    return {block: statistics.mean(some) for block, some in blocks.items()}


if __name__ == "__main__":
    main()
