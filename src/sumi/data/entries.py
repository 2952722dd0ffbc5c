"""Entries: which icons become concepts, and by what names.

Idea: the everyday list is curated by eye and written down beside this module; the full list is every icon
of the base set but the families nobody asks a picture of (flags, clock faces, buttons, arrows, signs).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from sumi.data.artwork import Artwork
from sumi.data.people import gender_icon, strip_tone
from sumi.data.words import Annotation

_LEFT_OUT = re.compile(
    r"(oclock|-thirty|keycap|-button|-arrow|-flag|flag-|facing-right|index-pointing|input-|-skin-tone|letter-"
    r"|japanese-here|speech-bubble|anger-bubble|families|family|kiss-|couple-with|-holding-hands|flag)"
)
_SYMBOLS = frozenset(
    (
        *("atom-symbol", "biohazard", "check-mark", "cross-mark", "fleur-de-lis", "infinity", "menorah"),
        *("peace-symbol", "radioactive", "recycling-symbol", "star-of-david", "trident-emblem", "warning"),
        *("yin-yang", "no-entry", "red-exclamation-mark", "red-question-mark", "heavy-dollar-sign"),
    )
)


@dataclass(frozen=True)
class Entry:
    """An icon to teach: its names, best first, and whether it is a role with skin tones and genders."""

    icon: str
    names: tuple[str, ...]
    category: str
    role: bool = False


def everyday_entries() -> Iterator[Entry]:
    """The everyday list, in its written order."""
    return _written("everyday")


def further_entries() -> Iterator[Entry]:
    """The things beyond the everyday ones that are named by hand, in their written order."""
    return _written("further")


def _written(table: str) -> Iterator[Entry]:
    category = ""
    text = (resources.files("sumi.data") / f"{table}.txt").read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            category = line[1:-1]
        elif line and not line.startswith("#"):
            icon, _, names = (part.strip() for part in line.partition("|"))
            words = tuple(dict.fromkeys(word.strip() for word in names.split(",") if word.strip()))
            yield Entry(icon, words or (icon.replace("-", " "),), category, role=category == "person")


def full_entries(artworks: Iterable[Artwork], annotations: Mapping[str, Annotation]) -> Iterator[Entry]:
    """One entry a thing: the everyday ones, the others named by hand, then the rest by icon name."""
    written = {entry.icon: entry for entry in (*everyday_entries(), *further_entries())}
    yield from written.values()
    arts = {art.name: art for art in artworks}
    taken = {entry.names[0].lower() for entry in written.values()}
    for icon in sorted(arts):
        art = arts[icon]
        if icon in written or _LEFT_OUT.search(icon) or art.category == "Flags" or strip_tone(icon) != icon:
            continue
        if _is_gendered(icon, arts) or not art.category or (art.category == "Symbols" and icon not in _SYMBOLS):
            continue
        name = annotations[icon].name.replace("’", "'") if icon in annotations else icon.replace("-", " ")
        if name.lower() in taken:
            continue
        taken.add(name.lower())
        role = f"{icon}-dark-skin-tone" in arts or f"{gender_icon(icon, 'man')}-dark-skin-tone" in arts
        yield Entry(icon, (name,), art.category.lower(), role)


def _is_gendered(icon: str, arts: Mapping[str, Artwork]) -> bool:
    """Whether the icon is the man or woman of a role that is an entry itself."""
    for gender in ("man-", "woman-"):
        bare = icon.removeprefix(gender)
        if bare != icon and (bare in arts or f"person-{bare}" in arts):
            return True
    return False
