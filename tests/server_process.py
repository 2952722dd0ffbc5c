"""`sumi serve` as a process of its own, on a tiny model of the kind that is shipped: asked by HTTP, and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from live_server import PATIENCE_S

from sumi.bundles import Bundle, save_bundle
from sumi.nn import DecoderNetwork
from sumi.store import FINAL, LOCAL, Job, Store
from sumi.systems.unclip import SETTINGS


def save_model(bundle: Bundle, folder: Path) -> Path:
    """The tiny model's parts as a model that `sumi serve` knows by itself."""
    parts = {name: bundle.part(name) for name in bundle.parts}
    unet = bundle.part("decoder").config["unet"]  # type: ignore[index]
    parts["decoder"] = DecoderNetwork(2 * 8, 16, unet)  # type: ignore[arg-type]
    save_bundle(folder, system="unclip", parts=parts, tokenizer=bundle.tokenizer(), settings=SETTINGS)
    return folder


@dataclass(frozen=True)
class Server:
    """A process that answers, once it is `ready`."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def ready(self) -> None:
        """Wait until it answers."""
        wait(lambda: answers(self.client) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def ask(self, **body: Any) -> str:
        """Have a job acknowledged; return its id."""
        reply = self.client.post("/v1/jobs", json={"kind": "generate", "prompt": "a red fox", **body})
        assert reply.status_code == 202, reply.text
        job_id: str = reply.json()["id"]
        return job_id

    def descendants(self, title: str) -> list[int]:
        """The processes under this one in whose command this stands."""
        parents: dict[int, int] = {}
        titles: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
        found, mine = [], {self.process.pid}
        for pid in sorted(
            parents
        ):  # a child may have a smaller number than its parent, after a wrap; then it is missed
            if parents[pid] in mine:
                mine.add(pid)
                found += [pid] if title in titles.get(pid, "") else []
        return found


@contextmanager
def serving(model: Path, folder: Path, *arguments: str, log: Path, **environment: str) -> Iterator[Server]:
    """Start `sumi serve` on a free port; at the end, stop it as Ctrl+C does."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    command = [sys.executable, "-m", "sumi", "serve", "--port", str(port), "--model", str(model), "--data", str(folder)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *arguments], stdout=file, stderr=file, env=variables)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False) as client:
            yield Server(process, client, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def wait(until: Callable[[], object]) -> None:
    """Until something is so; the test fails where it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.2)


def workers_at_work(store: Store) -> set[str]:
    """Who holds jobs now."""
    return {job.worker for job in store.jobs.page(LOCAL, limit=100, status="running").items if job.worker}


def ended(store: Store, job_ids: list[str]) -> list[Job]:
    """Jobs in order, once no job of the store is unfinished."""
    wait(lambda: not {status for status, count in store.jobs.counts().items() if count} - set(FINAL))
    return [job for job in (store.jobs.get(LOCAL, job_id) for job_id in job_ids) if job is not None]


def assert_nothing_lost(store: Store, job_ids: list[str], pictures: int) -> None:
    """Every job has succeeded, with each of its pictures once, and whoever was killed has left some to others."""
    jobs = ended(store, job_ids)
    assert [job.id for job in jobs] == job_ids
    assert {job.status for job in jobs} == {"succeeded"}, [job.error for job in jobs]
    for job in jobs:
        drawn = store.jobs.pictures(LOCAL, job.id)
        assert [row.position for row in drawn] == list(range(pictures))
        assert len({row.digest for row in drawn}) == pictures
    assert max(job.attempts for job in jobs) > 1
    assert store.integrity_check() == []
