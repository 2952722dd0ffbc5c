"""Teaching on a server: each run is a `sumi teach` of its own, so drawing goes on beside it and a crash takes only it.

    <adapters>/mochi.pictures/   the pictures that were sent, rewritten by the sandbox, with the sha256 of their files
    sumi teach <adapters>/mochi.pictures --as ... --name mochi --json   ->   a JSON object a line

One run at a time. A run that a stopping server ends keeps what it has learned, and goes on when it is asked for again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sumi.atomic_file import write_atomic
from sumi.bundles import adapter_path, adapters_folder
from sumi.bundles.json_file import read_object
from sumi.serving.errors import ApiError

__all__ = ["TaughtUpload", "TeachingRuns"]

ENDING_S: Final = 20.0
"""How long a run may take to save itself."""
REQUEST: Final = "request.json"
COMMAND: Final = (sys.executable, "-m", "sumi")
NICENESS: Final = 10
"""Drawing comes first."""
log = logging.getLogger("sumi.serving")


@dataclass(frozen=True)
class TaughtUpload:
    """A picture that was sent: rewritten as PNG, and the sha256 of the file as it came."""

    png: bytes = field(repr=False)
    sha256: str


@dataclass
class _Run:
    """A run in this server: its process, and the last thing that it said of itself."""

    name: str
    process: asyncio.subprocess.Process
    follower: asyncio.Task[None] | None = None
    said: dict[str, Any] = field(default_factory=dict)
    picture: Path | None = None
    error: str | None = None


class TeachingRuns:
    """Starts, follows and stops runs of `sumi teach`. Call `close` at the end.

    Args:
        model: the folder of the model that is taught; None for one that cannot be.
        folder: of the adapters; by default the person's own.
    """

    def __init__(self, model: Path | None, folder: Path | None = None) -> None:
        self.model, self._folder = model, folder
        self._runs: dict[str, _Run] = {}
        self._lock = asyncio.Lock()

    @property
    def folder(self) -> Path:
        """Where the adapters lie."""
        return adapters_folder() if self._folder is None else self._folder

    async def start(self, name: str, concept: str, minutes: float, pictures: Sequence[TaughtUpload]) -> None:
        """Write the pictures and start a run, or go on with one (without pictures).

        Raises:
            ApiError: another run is on, the name is taken, or there is nothing to go on with.
        """
        async with self._lock:
            home = self.home(name)
            if running := [run.name for run in self._runs.values() if run.process.returncode is None]:
                raise ApiError(409, f"this server is teaching {running[0]} now; one at a time", code="teaching")
            if self.model is None:
                raise ApiError(400, "this model cannot be taught", code="not_supported")
            if adapter_path(name, self.folder).is_file():
                fault = f"there is an adapter {name} already: remove it, or choose another name"
                raise ApiError(409, fault, param="name")
            if pictures:
                await asyncio.to_thread(self._write, home, concept, minutes, pictures)
            elif not (home / REQUEST).is_file():
                raise ApiError(404, f"there is no unfinished run {name}")
            request = await asyncio.to_thread(read_object, home / REQUEST)
            run = _Run(name, await self._spawn(name, str(request["concept"]), float(request["minutes"])))
            run.follower = asyncio.create_task(self._follow(run))
            self._runs[name] = run

    def home(self, name: str) -> Path:
        """Return the folder of a run's pictures."""
        return adapter_path(name, self.folder).with_name(f"{name}.pictures")

    def status(self, name: str) -> dict[str, Any]:
        """Return what is known of a run: its status, and its progress while it learns."""
        run = self._runs.get(name)
        if run is not None and run.process.returncode is None:
            return {"status": "learning", **run.said}
        if adapter_path(name, self.folder).is_file():
            return {"status": "ready"}
        if run is not None and run.error is not None:
            return {"status": "failed", "error": run.error}
        return {"status": "stopped"}

    def picture(self, name: str) -> Path | None:
        """Return a sheet of what a run, or a finished adapter, draws."""
        finished = adapter_path(name, self.folder).with_suffix(".png")
        run = self._runs.get(name)
        return finished if finished.is_file() else None if run is None else run.picture

    def unfinished(self) -> list[str]:
        """Return the names of runs that are on, stopped or failed."""
        names = {path.name.removesuffix(".pictures") for path in self.folder.glob("*.pictures")}
        return sorted(name for name in names if not adapter_path(name, self.folder).is_file())

    async def stop(self, name: str) -> None:
        """Stop a run, which saves what it has learned."""
        run = self._runs.get(name)
        if run is None or run.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            run.process.terminate()  # SIGINT is ignored in what a shell starts in the background
        try:
            async with asyncio.timeout(ENDING_S):
                await run.process.wait()
        except TimeoutError:
            run.process.kill()
            await run.process.wait()

    async def remove(self, name: str) -> None:
        """Stop a run and delete its pictures."""
        await self.stop(name)
        self._runs.pop(name, None)
        await asyncio.to_thread(shutil.rmtree, self.home(name), ignore_errors=True)

    async def close(self) -> None:
        """Stop every run."""
        for name in list(self._runs):
            await self.stop(name)
        followers = [run.follower for run in self._runs.values() if run.follower is not None]
        await asyncio.gather(*followers, return_exceptions=True)

    def _write(self, home: Path, concept: str, minutes: float, pictures: Sequence[TaughtUpload]) -> None:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(home.with_name(home.name.replace(".pictures", ".teaching")), ignore_errors=True)
        home.mkdir(parents=True)
        rows = []
        for number, picture in enumerate(pictures):
            write_atomic(home / f"{number:04}.png", picture.png)
            rows.append(json.dumps({"file_name": f"{number:04}.png", "original_sha256": picture.sha256}))
        write_atomic(home / "metadata.jsonl", "\n".join(rows) + "\n")
        write_atomic(home / REQUEST, json.dumps({"concept": concept, "minutes": minutes}))

    async def _spawn(self, name: str, concept: str, minutes: float) -> asyncio.subprocess.Process:
        nice = [] if (path := shutil.which("nice")) is None else [path, "-n", str(NICENESS)]
        words = ["teach", str(self.home(name)), f"--as={concept}", f"--name={name}", f"--minutes={minutes}"]
        return await asyncio.create_subprocess_exec(
            *nice, *COMMAND, *words, f"--model={self.model}", "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "SUMI_ADAPTERS": str(self.folder)},
        )  # fmt: skip

    async def _follow(self, run: _Run) -> None:
        """Read what a run says until it ends."""
        assert run.process.stdout is not None
        async for line in run.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            self._hear(run, said)
        await run.process.wait()
        if adapter_path(run.name, self.folder).is_file():
            shutil.rmtree(self.home(run.name), ignore_errors=True)
        elif run.error is None and run.process.returncode not in (0, 130, -signal.SIGINT, -signal.SIGTERM):
            run.error = "the run ended without an adapter; the same request goes on with it"
            log.error("teaching %s ended with status %s", run.name, run.process.returncode)

    def _hear(self, run: _Run, said: Any) -> None:
        if not isinstance(said, dict):
            return
        if isinstance(error := said.get("error"), str) and error != "stopped":
            run.error = error
        elif said.get("event") == "preparing":
            run.said = {"doing": said["what"], "step": said["done"], "num_steps": said["of"]}
        elif said.get("event") == "training":
            figures = ("step", "num_steps", "loss", "eta_s")
            run.said = {"doing": "learning", **{name: said[name] for name in figures}}
            if said.get("picture"):
                run.picture = Path(said["picture"])
        elif said.get("event") == "note" and "note" not in run.said:
            log.info("teaching %s: %s", run.name, said.get("note"))
