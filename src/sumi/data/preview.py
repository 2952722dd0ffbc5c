"""A contact sheet of scenes with their captions, to look at what training shows."""

from __future__ import annotations

from pathlib import Path

from sumi.data.generator import Scenes
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.png import save_png

__all__ = ["save_preview"]


def save_preview(
    scenes: Scenes, path: str | Path, count: int = 64, start: int = 0, size_px: int = 128, columns: int = 8
) -> Path:
    """Write a contact sheet of scenes as a PNG file.

    Args:
        scenes: where the scenes come from.
        path: the file to write; its folder is made.
        count: how many scenes to show.
        start: the number of the first one.
        size_px: the side of each picture.
        columns: pictures a row.

    Returns:
        The path.
    """
    _, captions, pictures = scenes.batch(start, count, size_px)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return save_png(target, contact_sheet(pictures, captions, columns))
