"""How long a person waits: warm seconds a picture, seconds of a whole cold process, and its peak memory.

    python benchmarks/latency.py [--model DIR] [--repeats 5] [--json]

Warm: a model that has drawn once draws four pictures at its largest size, default settings. Cold: a fresh process
runs `sumi generate PROMPT` with the same settings, from its start to its end. Peak memory: the largest resident set
of such a process. Each is the median of the repeats, with the least and the most beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROMPT = "a red fox"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder of the model; default the one that comes with Sumi")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("-n", type=int, default=4, help="pictures a repeat (4)")
    parser.add_argument("--size", type=int, help="pixels a side; default the model's largest")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    report = measure(options.model, options.prompt, options.n, options.size, options.repeats)
    print(json.dumps(report) if options.json else _told(report))


def measure(model: str | None, prompt: str, n: int, size: int | None, repeats: int) -> dict[str, Any]:
    """Return every figure: {"cold_s", "peak_mb", "warm_s_per_picture": {median, least, most}, and the machine's}."""
    cold = [cold_run(model, prompt, n, size) for _ in range(repeats)]
    warm = warm_runs(model, prompt, n, size, repeats)
    return {
        "machine": _machine(),
        "prompt": prompt,
        "n": n,
        "repeats": repeats,
        "warm_s_per_picture": _spread([seconds / n for seconds in warm]),
        "cold_s": _spread([seconds for seconds, _ in cold]),
        "peak_mb": _spread([megabytes for _, megabytes in cold]),
    }


def cold_run(model: str | None, prompt: str, n: int, size: int | None) -> tuple[float, float]:
    """Run one whole process; return its seconds and its peak resident set in MB (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sumi", "generate", prompt, "-n", str(n), "--seed", "1", "--out", folder]
        command += ["--model", model] if model else []
        command += ["--size", str(size)] if size else []
        with open(Path(folder) / "said.txt", "w+", encoding="utf-8") as said:
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)  # waited for here, so that the usage is this process's own
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                sys.exit(f"sumi generate failed: {said.read().strip()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def warm_runs(model: str | None, prompt: str, n: int, size: int | None, repeats: int) -> list[float]:
    """Return the seconds of each repeat on a model that has drawn once already."""
    import sumi

    artist = sumi.load(model)
    artist.generate(prompt, n=n, size=size, seed=0)
    seconds = []
    for seed in range(repeats):
        started = time.perf_counter()
        artist.generate(prompt, n=n, size=size, seed=seed)
        seconds.append(time.perf_counter() - started)
    return seconds


def _machine() -> dict[str, Any]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def _told(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        f"{machine['cores']} cores ({machine['capability']}), {machine['threads']} threads, torch {machine['torch']}, "
        f"Python {machine['python']}; {report['n']} pictures, median of {report['repeats']} (least to most)"
    ]
    names = {
        "warm_s_per_picture": "warm, seconds a picture",
        "cold_s": "whole process from cold, seconds",
        "peak_mb": "peak memory, MB",
    }
    for key, name in names.items():
        spread = report[key]
        lines.append(f"{name:34} {spread['median']:9.2f}  ({spread['least']:.2f} to {spread['most']:.2f})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
