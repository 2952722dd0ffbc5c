"""Workers: whether the process that holds a job is alive. It locks a file, and the kernel releases the lock at its end.

    <folder>/<id>    locked from before the worker's first claim until its process ends, however it ends

So the jobs of a killed server are free at once, without waiting for a lease to lapse, and a reused process id deceives
nobody. A worker of another machine has no file here; its leases decide.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor

__all__ = ["Worker", "is_gone", "sweep_workers", "was_stopped"]


class Worker:
    """An engine that runs jobs, alive until it is closed or its process ends."""

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
        """Note that an operator stops this process: however it ends now, no job is to blame."""
        if self._lock is not None:
            _stop_mark(self._path).touch(mode=0o600)

    def close(self) -> None:
        """End the worker; others may take what it still holds."""
        if self._lock is not None:
            os.close(self._lock)  # first: Windows deletes no open file
            self._lock = None
            self._path.unlink(missing_ok=True)
            _stop_mark(self._path).unlink(missing_ok=True)


def is_gone(folder: Path, worker: str) -> bool | None:
    """Return whether a worker of this machine has ended; None where it has no file here."""
    try:
        handle = os.open(folder / worker, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return lock_descriptor(handle, blocking=False)
    finally:
        os.close(handle)


def was_stopped(folder: Path, worker: str) -> bool:
    """Return whether an operator had stopped a worker of this machine."""
    return worker != "" and _stop_mark(folder / worker).exists()


def _stop_mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.stopped")


def sweep_workers(folder: Path) -> None:
    """Delete the files of workers that are gone; call it once nothing they held is running."""
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
