"""glibc's heap, kept from growing under load.

glibc raises its thresholds by itself, to as much as 32 MB, once a large block was freed: then large blocks come out of
the arenas too, which short-lived small ones keep from being given back. Thresholds that are set do not grow.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Final

__all__ = ["steady_heap"]

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
THRESHOLDS: Final = {M_MMAP_THRESHOLD: 64 * 1024, M_TRIM_THRESHOLD: 128 * 1024}


def steady_heap() -> bool:
    """Set both thresholds for this process; returns whether that was possible, which it is with glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(name, value_bytes) for name, value_bytes in THRESHOLDS.items()])
