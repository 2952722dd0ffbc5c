"""Artwork: licensed emoji drawings as SVG text, by several hands, and their rasters.

Idea: an Iconify set stores the inside of each `<svg>` once, with the set's default canvas beside it, and
aliases that point to (and may mirror or turn) another icon. Reading a set gives one `Artwork` per distinct
drawing, each with its `Rights`. A raster is premultiplied RGBA: colour' = colour * alpha, transparent = 0,
so that averaging pixels (mip levels, resampling) never bleeds a colour that cannot be seen.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.data.rights import Rights
from sumi.errors import SumiError

__all__ = [
    "ARTISTS",
    "SVG_HEAD",
    "Artwork",
    "IconSet",
    "find_missing_sets",
    "frame_svg",
    "load_artwork",
    "render",
    "select_sets",
    "square",
    "tight_box",
]

SVG_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass(frozen=True)
class IconSet:
    """An icon set of one artist: its npm package and pinned version, and its artist's short name here.

    shared: whether the model that is shipped may learn from it. From a share-alike set one may train one's own.
    licence: that of the drawings, where the package names another: FxEmoji's names that of its code.
    """

    package: str
    version: str
    artist: str
    shared: bool = True
    licence: str = ""

    @property
    def npm(self) -> str:
        """What npm is asked for: the package at its version."""
        return f"@iconify-json/{self.package}@{self.version}"


ICON_SETS = (
    IconSet("noto", "1.2.9", "noto"),
    IconSet("fluent-emoji-flat", "1.2.6", "fluent"),
    IconSet("twemoji", "1.2.5", "twemoji"),
    IconSet("emojione", "1.2.3", "emojione"),
    IconSet("noto-v1", "1.2.5", "noto-v1"),
    IconSet("fxemoji", "1.2.2", "fxemoji", licence="CC-BY-4.0"),
    IconSet("openmoji", "1.2.29", "openmoji", shared=False),
    IconSet("emojione-v1", "1.2.3", "emojione-v1", shared=False),
)
ARTISTS = tuple(icons.artist for icons in ICON_SETS if icons.shared)
"""The artists of the sets that the shipped model may learn from."""


_SETS = {icons.package: icons for icons in ICON_SETS}


@dataclass(frozen=True)
class Artwork:
    """One drawing. `aliases` are its other icon names; `canvas` is its square (left, top, width, height)."""

    name: str
    hand: str
    svg: str
    category: str
    rights: Rights
    aliases: tuple[str, ...] = ()
    canvas: tuple[float, float, float, float] = (0.0, 0.0, 128.0, 128.0)


def load_artwork(folder: str | Path, artists: Collection[str] = ARTISTS) -> list[Artwork]:
    """Return every drawing of some artists, sorted by artist and name.

    Args:
        folder: of the artwork, as `make artwork` leaves it.
        artists: names from ICON_SETS.

    Raises:
        SumiError: when the folder holds no artwork, or an artist is unknown.
    """
    root = Path(folder)
    paths = [set_folder(root, icons) for icons in select_sets(artists)]
    found = [path for path in paths if (path / "icons.json").is_file()]
    if not found:
        raise SumiError(f"no artwork under {root}: run `make artwork`")
    return sorted((art for path in found for art in read_set(path)), key=lambda art: (art.hand, art.name))


def set_folder(root: str | Path, icons: IconSet) -> Path:
    """Where npm puts an icon set under the folder of the artwork."""
    return Path(root) / "node_modules" / "@iconify-json" / icons.package


def select_sets(artists: Collection[str]) -> list[IconSet]:
    """The icon sets of some artists; raises SumiError for an artist whom ICON_SETS does not know."""
    known = [icons.artist for icons in ICON_SETS]
    if unknown := sorted(set(artists) - set(known)):
        raise SumiError(f"there is no artist {unknown[0]!r}: choose from {', '.join(known)}")
    return [icons for icons in ICON_SETS if icons.artist in artists]


def find_missing_sets(root: str | Path, artists: Collection[str] = ARTISTS) -> list[IconSet]:
    """The sets of some artists that are not under `root` in their pinned version."""

    def version(icons: IconSet) -> str:
        path = set_folder(root, icons) / "package.json"
        return str(_read(path)["version"]) if path.is_file() else ""

    return [icons for icons in select_sets(artists) if version(icons) != icons.version]


def read_set(folder: Path) -> Iterator[Artwork]:
    """The drawings of one Iconify package folder (icons.json, info.json, metadata.json, package.json)."""
    icons, info, known = _read(folder / "icons.json"), _read(folder / "info.json"), _SETS.get(folder.name)
    package, groups = _read(folder / "package.json"), _read(folder / "metadata.json").get("categories", {})
    category = {name: group for group, names in groups.items() for name in names}
    aliases: dict[str, Any] = icons.get("aliases", {})
    spare: dict[str, list[str]] = {}
    for name, alias in aliases.items():
        if set(alias) == {"parent"}:
            spare.setdefault(_root(name, aliases), []).append(name)
    drawn = {**icons["icons"], **{name: alias for name, alias in aliases.items() if set(alias) != {"parent"}}}
    for name, entry in drawn.items():
        shape = _resolve(name, icons)
        if shape.get("hidden"):
            continue
        svg, canvas = _svg(shape, icons)
        rights = Rights(
            source=str(package["name"]),
            version=str(package["version"]),
            licence=known.licence if known and known.licence else str(info["license"]["spdx"]),
            author=str(info["author"]["name"]),
            url=str(info["author"].get("url", info["license"].get("url", ""))),
            name=name,
            sha256=hashlib.sha256(svg.encode()).hexdigest(),
        )
        group = category.get(name, category.get(entry.get("parent", ""), ""))
        hand = known.artist if known else folder.name
        yield Artwork(name, hand, svg, group, rights, tuple(sorted(spare.get(name, ()))), canvas)


def render(svg: str, size_px: int) -> NDArray[np.uint8]:
    """Rasterise `svg` on a square of `size_px`: premultiplied RGBA uint8 (4, size_px, size_px).

    Raises SumiError when the text is not an SVG.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise SumiError('drawing artwork needs resvg-py: pip install -e ".[train]"') from error
    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=size_px, height=size_px, skip_system_fonts=True)
    except ValueError as error:
        raise SumiError(f"cannot draw this SVG: {error}") from error
    with Image.open(io.BytesIO(png)) as picture:
        return premultiply(np.asarray(picture.convert("RGBA"), dtype=np.uint8))


def premultiply(straight: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight-alpha uint8 (H, W, 4) -> premultiplied uint8 (4, H, W), rounded to nearest."""
    wide = straight.astype(np.uint16)
    alpha = wide[..., 3:]
    colour = (wide[..., :3] * alpha + 127) // 255
    return np.ascontiguousarray(np.concatenate([colour, alpha], axis=-1).transpose(2, 0, 1).astype(np.uint8))


def tight_box(picture: NDArray[np.uint8], threshold: int = 8) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels, right and bottom exclusive, of what is visible in (4, H, W).

    An empty picture gives (0, 0, 0, 0).
    """
    seen = picture[3] > threshold
    if not seen.any():
        return (0, 0, 0, 0)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def square(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """The smallest square around a rectangle, with the same middle: a canvas that renders undistorted."""
    side = max(width, height)
    return left - (side - width) / 2, top - (side - height) / 2, side, side


def frame_svg(svg: str, canvas: tuple[float, float, float, float]) -> str:
    """The same drawing seen through another viewBox: how a crop is rendered sharp instead of enlarged."""
    left, top, width, height = canvas
    start = svg.index('viewBox="') + len('viewBox="')
    return f"{svg[:start]}{left:g} {top:g} {width:g} {height:g}{svg[svg.index(chr(34), start) :]}"


def _svg(shape: Mapping[str, Any], icons: Mapping[str, Any]) -> tuple[str, tuple[float, float, float, float]]:
    left, top = float(shape.get("left", icons.get("left", 0))), float(shape.get("top", icons.get("top", 0)))
    width = float(shape.get("width", icons.get("width", 16)))
    height = float(shape.get("height", icons.get("height", 16)))
    middle_x, middle_y = left + width / 2, top + height / 2
    turns = int(shape.get("rotate", 0)) % 4
    flip_x, flip_y = (-1 if shape.get("hFlip") else 1), (-1 if shape.get("vFlip") else 1)
    body = str(shape["body"])
    if turns or flip_x < 0 or flip_y < 0:
        move = f"translate({middle_x:g} {middle_y:g}) rotate({turns * 90}) scale({flip_x} {flip_y})"
        body = f'<g transform="{move} translate({-middle_x:g} {-middle_y:g})">{body}</g>'
    if turns % 2:
        left, top, width, height = middle_x - height / 2, middle_y - width / 2, height, width
    canvas = square(left, top, width, height)
    view = " ".join(f"{value:g}" for value in canvas)
    return f'{SVG_HEAD} viewBox="{view}">{body}</svg>', canvas


def _resolve(name: str, icons: Mapping[str, Any]) -> dict[str, Any]:
    """The icon with its alias chain folded in: flips cancel in pairs, turns add, other keys override."""
    if name in icons["icons"]:
        return dict(icons["icons"][name])
    alias = dict(icons.get("aliases", {})[name])
    shape = _resolve(alias.pop("parent"), icons)
    shape["hFlip"] = bool(shape.get("hFlip")) != bool(alias.pop("hFlip", False))
    shape["vFlip"] = bool(shape.get("vFlip")) != bool(alias.pop("vFlip", False))
    shape["rotate"] = (int(shape.get("rotate", 0)) + int(alias.pop("rotate", 0))) % 4
    return {**shape, **alias}


def _root(name: str, aliases: Mapping[str, Any]) -> str:
    """The drawing that a chain of plain aliases ends at."""
    while name in aliases and set(aliases[name]) == {"parent"}:
        name = str(aliases[name]["parent"])
    return name


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot read artwork file {path}: {error}") from error
    if not isinstance(loaded, dict):
        raise SumiError(f"artwork file {path} should hold a JSON object")
    return loaded
