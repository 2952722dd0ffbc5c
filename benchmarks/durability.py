"""Nothing acknowledged is lost: a server is killed again and again while it takes, draws and keeps.

    python benchmarks/durability.py [--rounds 50] [--queued 200] [--running 4] [--url sqlite:///PATH] [--json]

In each round a process opens the store, mends it, and at once takes orders and draws (a picture is some random bytes
made from its seed; what is measured is the keeping). It acknowledges each job and each end on a pipe, after the store
has. When `queued` jobs wait and `running` are being drawn, and a random moment more has passed, it gets SIGKILL. After
the last round a process that nobody kills draws what is left. Then this must be true:

    every acknowledged job is there, with one end; no end was reported twice, and none was taken back
    a succeeded job has its pictures, once each; any other has none
    no job has failed, since none of them ended the process
    the database and every file are whole
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sumi.store import FINAL, LOCAL, Job, NewPicture, Store, open_store

PICTURES = 2
PATIENCE_S = 120


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rounds, judge what is left, and leave with 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--queued", type=int, default=200, help="jobs that wait when the process is killed (200)")
    parser.add_argument("--running", type=int, default=4, help="jobs that are being drawn at a time (4)")
    parser.add_argument("--url", help="address of an empty database; default a SQLite file")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which it is killed")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return serve(Path(options.serve), options.url, options.queued, options.running)
    with tempfile.TemporaryDirectory() as folder:
        report = torment(Path(folder), options)
    print(json.dumps(report) if options.json else "\n".join(f"{name:28} {value}" for name, value in report.items()))
    sys.exit(bool(report["faults"]))


# The server that is killed. ------------------------------------------------------------------------------------------


def serve(folder: Path, url: str | None, queued: int, running: int) -> None:
    """Take orders until `queued` wait, and draw `running` at a time; with no orders to take, draw what is left."""
    store = open_store(folder, url)
    say("mended", str(store.reconcile()))
    turns = Turns(store)
    threads = [threading.Thread(target=draw, args=(store, turns, queued == 0)) for _ in range(running)]
    for thread in threads:
        thread.start()
    while queued:
        waiting = store.jobs.counts()["queued"]
        for _ in range(queued - waiting):
            say("acknowledged", store.jobs.submit(LOCAL, "generate", {"n": PICTURES, "seed": os.getpid()}).id)
        say("full", "")
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    turns.worker.close()
    store.close()


class Turns:
    """The one worker of the process; a job that must be alone waits for the others, and they for it."""

    def __init__(self, store: Store) -> None:
        self.store, self.worker = store, store.jobs.worker()
        self._changed, self._running, self._alone = threading.Condition(), 0, False

    def claim(self) -> Job | None:
        """Take a job, once it may be run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            claim = self.store.jobs.claim(self.worker)
            if claim is not None and claim.alone:
                self._alone = True
                self._changed.wait_for(lambda: self._running == 0)
            self._running += claim is not None
            return claim

    def done(self) -> None:
        """Let others go on."""
        with self._changed:
            self._running, self._alone = self._running - 1, False
            self._changed.notify_all()


def draw(store: Store, turns: Turns, leave_when_done: bool) -> None:
    """Be one of the threads that draw a job at a time."""
    while True:
        claim = turns.claim()
        if claim is None and leave_when_done:
            return
        if claim is not None:
            store.jobs.heartbeat(turns.worker, {claim.id: 0.5})
            time.sleep(random.uniform(0.1, 0.5))
            pictures = [picture(claim, position) for position in range(PICTURES)]
            if store.jobs.succeed(claim, pictures):
                say("ended", claim.id)
            turns.done()


def picture(claim: Job, position: int) -> NewPicture:
    """The same bytes whenever a job is drawn again, as a seed gives."""
    data = random.Random(f"{claim.id}/{position}").randbytes(20_000)
    return NewPicture(data, "image/png", 64, 64, "a red fox", {"position": position})


def say(what: str, which: str) -> None:
    """Tell whoever listens; a line this short arrives whole."""
    os.write(1, f"{what} {which}\n".encode())


# Whoever kills it, and judges. ---------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What the servers said, all together."""

    acknowledged: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    found: list[dict[str, int]] = field(default_factory=list)  # jobs of each status, right after a kill


def torment(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run every round, then draw what is left, and return what was found."""
    heard, chance, started = Heard(), random.Random(options.seed), time.perf_counter()
    with open_store(folder, options.url) as store:
        for number in range(options.rounds):
            with start(folder, options, options.queued) as server:
                kill_when_full(server, chance.uniform(0, 1), heard)
            found = store.jobs.counts()
            heard.found.append(found)
            if not options.json:
                told = f"{found['queued']} queued and {found['running']} running"
                print(f"round {number + 1}: {len(heard.acknowledged)} acknowledged, killed with {told}", flush=True)
        with start(folder, options, 0) as server:
            listen(server, heard, until=None)
        if server.returncode:
            sys.exit("the last server failed")
        return judge(store, heard) | {"seconds": round(time.perf_counter() - started, 1)}


def start(folder: Path, options: argparse.Namespace, queued: int) -> subprocess.Popen[bytes]:
    """Start a server."""
    command = [sys.executable, __file__, "--serve", str(folder), "--queued", str(queued)]
    command += ["--running", str(options.running), *(["--url", options.url] if options.url else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)


def kill_when_full(server: subprocess.Popen[bytes], seconds: float, heard: Heard) -> None:
    """Wait until the queue is full, and a moment more; kill; and hear what it had said by then."""
    listen(server, heard, until="full")
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        listen(server, heard, until="full", timeout_s=left)
    server.send_signal(signal.SIGKILL)
    listen(server, heard, until=None)
    heard.kills += server.wait() == -signal.SIGKILL


def listen(server: subprocess.Popen[bytes], heard: Heard, until: str | None, timeout_s: float = PATIENCE_S) -> None:
    """Note what a server says until it says a word, or until it ends, or for a while."""
    assert server.stdout is not None
    deadline = time.monotonic() + timeout_s
    while select.select([server.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
        line = server.stdout.readline().decode()
        if not line.endswith("\n"):
            return
        what, which = line[:-1].split(" ", 1)
        if what == "acknowledged":
            heard.acknowledged.append(which)
        elif what == "ended":
            heard.ended[which] += 1
        if what == until:
            return


def judge(store: Store, heard: Heard) -> dict[str, Any]:
    """Hold what was heard against what is kept."""
    faults = store.integrity_check()
    ends: Counter[str] = Counter()
    interrupted = 0
    for job_id in heard.acknowledged:
        job = store.jobs.get(LOCAL, job_id)
        if job is None:
            faults.append(f"{job_id} was acknowledged and is lost")
            continue
        ends[job.status] += 1
        interrupted += job.attempts > 1
        if job.status not in FINAL:
            faults.append(f"{job_id} is {job.status} and has no end")
        positions = [picture.position for picture in store.jobs.pictures(LOCAL, job_id)]
        if positions != (list(range(PICTURES)) if job.status == "succeeded" else []):
            faults.append(f"{job_id} {job.status} with the pictures {positions}")
        if job.status == "failed":  # each is innocent: what ended the process was not a job
            faults.append(f"{job_id} failed after {job.attempts} attempts: {job.error}")
        if job.status != "succeeded" and heard.ended[job_id]:
            faults.append(f"{job_id} was said to have succeeded and is {job.status}")
    faults += [f"{job_id} ended {count} times" for job_id, count in heard.ended.items() if count > 1]
    files, sweep = sum(1 for _ in store.files.digests()), store.reconcile(grace_s=0)
    faults += [f"{job_id} lost its pictures" for job_id in sweep.lost_pictures]
    return {
        "database": store.database.url.get_backend_name(),
        "kills": heard.kills,
        "queued at a kill": spread([found["queued"] for found in heard.found]),
        "running at a kill": spread([found["running"] for found in heard.found]),
        "acknowledged": len(heard.acknowledged),
        "ends": dict(ends),
        "drawn more than once": interrupted,
        "files, without a row": f"{files}, {sweep.files_put_aside}",
        "faults": faults,
    }


def spread(values: list[int]) -> str:
    """The least, the median and the most of some numbers."""
    return f"{min(values)} to {max(values)}, median {statistics.median(values):g}" if values else "none"


if __name__ == "__main__":
    main()
