"""Whether the process that holds a job still lives: it holds a lock on a file, and the kernel lets go when it ends.

    <folder>/<id>    locked from before the worker's first claim until its process is gone, however it went

So a killed server's jobs are known to be free at once, without waiting for a lease to lapse, and a process id that was
given to another process deceives nobody. A worker of another machine has no file here, and is judged by its leases.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor

__all__ = ["Worker", "is_gone", "sweep_workers", "was_stopped"]


class Worker:
    """One engine that runs jobs, alive until it is closed or its process ends."""

    def __init__(self, folder: Path) -> None:
        self.id = f"worker_{secrets.token_hex(16)}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / self.id
        self._lock: int | None = None
        while self._lock is None:  # a sweep may delete the file before it is locked
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            lock_descriptor(handle)
            if self._path.exists():
                self._lock = handle
            else:
                os.close(handle)

    def stop(self) -> None:
        """Note that an operator told this process to stop: however it ends now, no job is to blame."""
        if self._lock is not None:
            _stopped(self._path).touch(mode=0o600)

    def close(self) -> None:
        """Be gone; what it still holds is anybody's."""
        if self._lock is not None:
            os.close(self._lock)  # first: Windows deletes no open file
            self._lock = None
            self._path.unlink(missing_ok=True)
            _stopped(self._path).unlink(missing_ok=True)


def is_gone(folder: Path, worker: str) -> bool | None:
    """Whether a worker of this machine has ended; None where its file is not here to tell."""
    try:
        handle = os.open(folder / worker, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return lock_descriptor(handle, blocking=False)
    finally:
        os.close(handle)


def was_stopped(folder: Path, worker: str) -> bool:
    """Whether an operator had told a worker of this machine to stop."""
    return worker != "" and _stopped(folder / worker).exists()


def _stopped(path: Path) -> Path:
    return path.with_name(f".{path.name}.stopped")


def sweep_workers(folder: Path) -> None:
    """Delete the files of workers that are gone; only once nothing they held is running."""
    for mark in folder.glob(".worker_*.stopped"):
        if is_gone(folder, mark.name[1:].removesuffix(".stopped")) is not False:
            mark.unlink(missing_ok=True)
    for path in folder.glob("worker_*"):
        with suppress(FileNotFoundError, PermissionError):  # Windows deletes no file that is open
            handle = os.open(path, os.O_RDWR)
            try:
                if lock_descriptor(handle, blocking=False):
                    path.unlink()
            finally:
                os.close(handle)
