"""Whether a server that refuses keeps growing.

    python benchmarks/memory.py [--requests 50000] [--model DIR] [--out FILE]

The program starts a server and sends it so many requests that the server refuses, over a few connections that stay
open: without a key, of a wrong form, against the policy, with pictures that are none, for another host. It reads the
server's resident memory after every hundredth part. It prints the slope, over the last four fifths, of means over ten
blocks, in MB for 10,000 requests, with its 95% interval, and leaves with 1 where the interval lies above GROWTH_MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from served import Served, machine, served

CONNECTIONS = 8
GROWTH_MB = 0.5
"""For 10,000 requests."""
T_95 = 2.306
"""Student's t for the eight degrees of freedom of ten means and a line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=600, help="the longest that it may take")
    parser.add_argument("--model", help="folder of the model; default the one that comes with Sumi")
    parser.add_argument("--out", help="where to write; default nowhere")
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"machine": machine()}
    with served(model=options.model, keys=1) as (server, tokens):
        started = time.perf_counter()
        statuses, samples = asyncio.run(refused(server, tokens[0], options.requests, options.seconds))
        report |= judged(samples, statuses, time.perf_counter() - started)
    print("\n".join(f"{name:44} {value}" for name, value in report.items()))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    sys.exit(bool(report.get("fault")))


def wrong_requests(host: str, token: str) -> list[bytes]:
    """One of each kind of request that is refused, as bytes."""
    own, key = f"Host: {host}\r\n", f"Authorization: Bearer {token}\r\n"
    form = "Content-Type: multipart/form-data; boundary=x\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + b"no picture" * 2000
    bodies = [
        (own, "/v1/images/generations", b'{"prompt": "a fox"}'),
        (own + key, "/v1/nowhere", b"{}"),
        (own + key, "/v1/images/generations", b'{"prompt": ["a fox"]}'),
        (own + key, "/v1/images/generations", b'{"prompt": "a nude person"}'),
        (own + key, "/v1/images/generations", b'{"prompt": "' + b"a fox " * 5000 + b'"}'),
        (own + key, "/v1/jobs", b'{"kind": "generate", "prompt": "a fox", "size": 7}'),
        (own + key, "/v1/jobs", b'{"kind": "generate", "images": [' + b"{}," * 30_000 + b"{}]}"),
        ("Host: example.org\r\n" + key, "/v1/models", b""),
        (own + key, "/v1/embeddings", b'{"model": "another", "input": "' + b"a" * 30_000 + b'"}'),
        (own + key + form, "/v1/images/variations", part + b"\r\n--x--\r\n"),
    ]
    kind = "Content-Type: application/json\r\n"
    requests = []
    for head, path, body in bodies:
        fields = f"{head}{'' if form in head else kind}Content-Length: {len(body)}"
        requests.append(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
    return requests


async def refused(
    server: Served, token: str, count: int, seconds: float
) -> tuple[Counter[int], list[tuple[int, float]]]:
    """Send so many requests; return how they were answered, and after how many the server had how much memory, MB."""
    address = urlsplit(server.url)
    *cheap, picture = wrong_requests(address.netloc, token)
    wrong = [*cheap * 5, picture]  # a picture that is none costs a process
    numbers: Iterator[int] = iter(range(count))
    until = time.perf_counter() + seconds
    statuses, samples = Counter[int](), list[tuple[int, float]]()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for number in numbers:
            if time.perf_counter() > until:
                break
            writer.write(wrong[number % len(wrong)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            statuses[int(head.split(b" ", 2)[1])] += 1
            if number % max(1, count // 100) == 0:
                samples.append((number, server.resident_mb))
                print(f"{number} requests, {samples[-1][1]:.1f} MB", file=sys.stderr, flush=True)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return statuses, samples


def judged(samples: list[tuple[int, float]], statuses: Counter[int], seconds: float) -> dict[str, Any]:
    """What was seen."""
    slope, give = slope_of(samples[len(samples) // 5 :])
    return {
        "requests": statuses.total(),
        "seconds": round(seconds, 1),
        "answers by status": dict(sorted(statuses.items())),
        "memory, first, after a fifth and last, MB": [
            round(samples[at][1], 1) for at in (0, len(samples) // 5, len(samples) - 1)
        ],
        "memory, MB for 10,000 requests, 95% interval": [round(slope - give, 2), round(slope + give, 2)],
        "fault": slope - give > GROWTH_MB or any(not 400 <= status < 500 for status in statuses),
    }


def slope_of(samples: list[tuple[int, float]], blocks: int = 10) -> tuple[float, float]:
    """The slope in MB for 10,000 requests, and how far its 95% interval reaches, of means over blocks of samples."""
    size = len(samples) // blocks
    parts = [samples[block * size : (block + 1) * size] for block in range(blocks)]
    x = [statistics.mean(number for number, _ in part) / 10_000 for part in parts]
    y = [statistics.mean(mb for _, mb in part) for part in parts]
    slope, start = statistics.linear_regression(x, y)
    left = sum((mb - start - slope * at) ** 2 for at, mb in zip(x, y, strict=True)) / (blocks - 2)
    return float(slope), T_95 * (left / sum((at - statistics.mean(x)) ** 2 for at in x)) ** 0.5


if __name__ == "__main__":
    main()
