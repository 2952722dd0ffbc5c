"""Pictures as a notebook shows them: HTML that needs no file and no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

__all__ = ["figure", "gallery"]

BOARD = "repeating-conic-gradient(#ebebeb 0 25%, #fafafa 0 50%) 0 0 / 16px 16px"
"""A checkerboard, seen where a picture is transparent."""


def figure(png: bytes, size: tuple[int, int], caption: str) -> str:
    """Return a picture over a checkerboard, with a caption."""
    source, text = base64.b64encode(png).decode("ascii"), html.escape(caption)
    return (
        '<figure style="display:inline-block;margin:4px;text-align:center">'
        f'<img src="data:image/png;base64,{source}" width="{size[0]}" height="{size[1]}" alt="{text}" '
        f'style="background:{BOARD};max-width:100%;height:auto">'
        f'<figcaption style="font-size:small;max-width:{max(size[0], 120)}px">{text}</figcaption></figure>'
    )


def gallery(figures: Sequence[str], notes: Sequence[str]) -> str:
    """Return figures side by side, and the notes below."""
    lines = "".join(f"<div>note: {html.escape(note)}</div>" for note in notes)
    return f"<div>{''.join(figures)}{lines}</div>"
