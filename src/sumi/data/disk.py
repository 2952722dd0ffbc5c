"""Whether the disk has room for what is about to be written, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from sumi.errors import SumiError

__all__ = ["check_disk", "size_in_words"]


def check_disk(folder: Path, needed: float, what: str) -> None:
    """Raise SumiError where the disk of a folder, which need not exist yet, has fewer free bytes than are needed."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise SumiError(
            f"{what} takes {size_in_words(needed)} in {folder}, and {size_in_words(free)} of its disk are free: "
            "make room, choose a folder on another disk, or ask for less"
        )


def size_in_words(count: float) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
