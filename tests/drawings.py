"""A few drawings of our own, laid out as the icon packages are, so that no test needs a download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RED_SQUARE = '<path fill="#f00" d="M0 0h{s}v{s}H0z"/>'

ICONS: dict[str, dict[str, Any]] = {
    # The left half of the canvas, so that a flip is seen; half transparent.
    "fox": {"body": '<path fill="#ff8000" fill-opacity=".5" d="M0 0h{h}v{s}H0z"/>'},
    "dog": {"body": '<defs><circle id="a" cx="{h}" cy="{h}" r="{q}"/></defs><use xlink:href="#a" fill="#840"/>'},
    "top-hat": {"body": '<path d="M{q} {q}h{h}v{h}H{q}z"/>'},
    # Wider than it is high.
    "fish": {"body": '<path fill="#00f" d="M0 0h{s}v{h}H0z"/>', "height": "{h}"},
    "cook": {"body": RED_SQUARE},
    "man-cook": {"body": RED_SQUARE},
    "woman-cook{dark}": {"body": RED_SQUARE},
    "cook{dark}": {"body": RED_SQUARE},
    "grinning-cat": {"body": RED_SQUARE},
    "flag-wales": {"body": RED_SQUARE},
    "four-oclock": {"body": RED_SQUARE},
    "old-fox": {"body": RED_SQUARE, "hidden": True},
}
ALIASES = {"red-fox": {"parent": "fox"}, "turned-fox": {"parent": "fox", "hFlip": True}}
SETS = {
    "noto": (128, "-dark-skin-tone", "Apache-2.0"),
    "fluent-emoji-flat": (32, "-dark", "MIT"),
    "twemoji": (36, "-dark-skin-tone", "CC-BY-4.0"),
}


def write_set(root: Path, package: str) -> None:
    size, dark, licence = SETS[package]
    sizes = {"{s}": str(size), "{h}": str(size / 2), "{q}": str(size / 4), "{dark}": dark}

    def fill(text: str) -> str:
        for mark, value in sizes.items():
            text = text.replace(mark, value)
        return text

    icons = {
        fill(name): {key: fill(value) if isinstance(value, str) else value for key, value in icon.items()}
        for name, icon in ICONS.items()
    }
    for icon in icons.values():
        if "height" in icon:
            icon["height"] = float(icon["height"])
    folder = root / "node_modules" / "@iconify-json" / package
    folder.mkdir(parents=True)
    author = {"name": f"Painter of {package}", "url": "https://example.org"}
    files = {
        "icons": {"prefix": package, "icons": icons, "aliases": ALIASES, "width": size, "height": size},
        "info": {"author": author, "license": {"spdx": licence}},
        "metadata": {"categories": {"Animals & Nature": list(icons)}},
        "package": {"name": f"@iconify-json/{package}", "version": "1.2.3"},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")


def write_artwork(folder: Path) -> Path:
    """Fill a folder as `make artwork` does: three packages of a dozen drawings, and a little CLDR."""
    for package in SETS:
        write_set(folder, package)
    (folder / "cldr").mkdir()
    (folder / "cldr" / "en.xml").write_text(
        "<ldml><annotations>"
        '<annotation cp="1">reynard | pet | face</annotation><annotation cp="1" type="tts">fox</annotation>'
        '<annotation cp="2">barker | pet</annotation><annotation cp="2" type="tts">dog</annotation>'
        '<annotation cp="3">grin | barker</annotation><annotation cp="3" type="tts">grinning cat</annotation>'
        "</annotations></ldml>",
        "utf-8",
    )
    return folder
