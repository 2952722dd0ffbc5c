"""Whether the process that holds a job still lives: it holds a lock on a file, and the kernel lets go when it ends.

    <folder>/<id>    locked from before the worker's first claim until its process is gone, however it went

So a killed server's jobs are known to be free at once, without waiting for a lease to lapse, and a process id that was
given to another process deceives nobody. A worker of another machine has no file here, and is judged by its leases.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

__all__ = ["Worker", "is_gone", "sweep_workers"]


class Worker:
    """One engine that runs jobs, alive until it is closed or its process ends."""

    def __init__(self, folder: Path) -> None:
        self.id = f"worker_{secrets.token_hex(16)}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft, self._path = folder / f".{self.id}", folder / self.id
        self._lock: int | None = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        draft.rename(self._path)  # under its name it is never seen unlocked while it lives

    def close(self) -> None:
        """Be gone; what it still holds is anybody's."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


def is_gone(folder: Path, worker: str) -> bool | None:
    """Whether a worker of this machine has ended; None where its file is not here to tell."""
    try:
        handle = os.open(folder / worker, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def sweep_workers(folder: Path) -> None:
    """Delete the files of workers that are gone; only once nothing they held is running."""
    for path in folder.glob("worker_*"):
        if is_gone(folder, path.name):
            path.unlink(missing_ok=True)
