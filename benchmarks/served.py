"""A `sumi serve` of our own to be measured: on a free port, over an empty folder, and stopped as one should be."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from sumi.store import open_store

__all__ = ["Served", "machine", "quantile", "served"]


@dataclass
class Served:
    """A server at work. stopped: its exit status, and how many seconds it took to leave."""

    process: subprocess.Popen[str]
    url: str
    stopped: tuple[int, float] | None = None

    def metric(self, name: str, **labels: str) -> float:
        """One figure of /metrics; 0 where there is none."""
        wanted = ",".join(f'{label}="{text}"' for label, text in labels.items())
        page = httpx.get(f"{self.url}/metrics", trust_env=False).text
        found = re.search(rf"^{re.escape(f'{name}{{{wanted}}}' if wanted else name)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def resident_mb(self) -> float:
        """Memory that it has in use."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    @property
    def open_files(self) -> int:
        """Files, sockets and pipes that it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextmanager
def served(*arguments: str, model: str | None = None, keys: int = 0) -> Iterator[tuple[Served, list[str]]]:
    """Start a server that knows so many keys, and stop it with SIGTERM; gives it with the tokens of the keys."""
    with tempfile.TemporaryDirectory(prefix="sumi-") as folder:
        with open_store(folder) as store:
            tokens = [store.keys.create("somebody").token for _ in range(keys)]
        command = [sys.executable, "-m", "sumi", "serve", "--port", "0", "--data", folder, *arguments]
        command += ["--model", model] if model else []
        with open(f"{folder}/log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(command, stderr=log, text=True)
            try:
                server = Served(process, address(process, Path(log.name)))
                yield server, tokens
                started = time.perf_counter()
                process.send_signal(signal.SIGTERM)
                server.stopped = process.wait(60), time.perf_counter() - started
            finally:
                process.kill()
                process.wait()


def address(process: subprocess.Popen[str], log: Path) -> str:
    """Where a server says that it listens."""
    while process.poll() is None:
        if found := re.search(r"http\S+(?=/v1)", log.read_text("utf-8")):
            return found[0]
        time.sleep(0.05)
    raise SystemExit(log.read_text("utf-8").strip())


def quantile(values: list[float], share: float) -> float:
    """The least value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def machine() -> dict[str, Any]:
    """What it was measured on. waiting: how many processes wanted a core just before, of this program and of others."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "waiting": round(os.getloadavg()[0], 1),
    }
