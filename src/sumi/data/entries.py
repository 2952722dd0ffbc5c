"""Entries: which icons become concepts, and by what names.

Idea: the everyday list is curated by eye and written down beside this module; the full list is every icon
of the base set but the families nobody asks a picture of (flags, clock faces, buttons, arrows, signs). The wide list
is everything that two artists or more have drawn, less what `left_out.txt` names with its reason; `wide.txt` holds the
names that are better than an icon's own. It depends on no installed table of names, since a concept's name decides what
is held out with it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources

from sumi.data.artwork import Artwork
from sumi.data.icon_names import artists_of
from sumi.data.people import gender_icon, strip_tone
from sumi.data.words import Annotation

__all__ = ["Entry", "everyday_entries", "full_entries", "named_entries", "wide_entries"]

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


ALSO = "also"
"""Under this heading, a table gives further names of what is named elsewhere."""
CATEGORISED = ("noto", "twemoji", "fluent")
"""The artists whose sets use the categories of CLDR."""


@dataclass(frozen=True)
class Entry:
    """An icon to teach: its names, best first, and whether it is a role with skin tones and genders."""

    icon: str
    names: tuple[str, ...]
    category: str
    role: bool = False


def everyday_entries() -> Iterator[Entry]:
    """The everyday list, in its written order."""
    return table_entries("everyday")


def further_entries() -> Iterator[Entry]:
    """The things beyond the everyday ones that are named by hand, in their written order."""
    return table_entries("further")


def wide_entries(drawn: Mapping[str, Mapping[str, Artwork]]) -> Iterator[Entry]:
    """One entry a thing of the wide list: the everyday ones, the others named by hand, then the rest by icon name.

    Args:
        drawn: Artist -> standard name -> drawing, see `icon_names.by_standard_name`.
    """
    artists, skip = artists_of(drawn), re.compile("|".join(f"(?:{pattern})" for pattern in left_out()))
    several = {icon for icon, names in artists.items() if len(names) > 1 and not skip.fullmatch(icon)}
    written, also = named_entries(), _further_names()
    yield from (_also_called(entry, also) for entry in written.values() if entry.icon in several)
    for icon in sorted(several - set(written)):
        category = _category(icon, drawn)
        symbol = category in ("", "Symbols", "Flags") and icon not in _SYMBOLS
        if not (symbol or strip_tone(icon) != icon or _is_gendered(icon, artists)):
            role = any(f"{name}-dark-skin-tone" in artists for name in (icon, gender_icon(icon, "man")))
            yield _also_called(Entry(icon, (icon.replace("-", " "),), category.lower(), role), also)


def named_entries() -> Mapping[str, Entry]:
    """Icon -> entry of all that is named by hand, in written order: the everyday list, the further and the wide one."""
    return {entry.icon: entry for entry in _written() if entry.category != ALSO}


def _further_names() -> Mapping[str, tuple[str, ...]]:
    """Icon -> the further names of what is named elsewhere."""
    return {entry.icon: entry.names for entry in _written() if entry.category == ALSO}


def _written() -> Iterator[Entry]:
    for table in ("everyday", "further", "wide"):
        yield from table_entries(table)


def _also_called(entry: Entry, also: Mapping[str, tuple[str, ...]]) -> Entry:
    return replace(entry, names=(*entry.names, *also.get(entry.icon, ())))


def left_out() -> Mapping[str, str]:
    """Pattern of standard icon names -> why no concept is made of them."""
    found, reason = {}, ""
    for line in (resources.files("sumi.data") / "left_out.txt").read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            reason = line[1:-1]
        elif line and not line.startswith("#"):
            found[line] = reason
    return found


def _category(icon: str, drawn: Mapping[str, Mapping[str, Artwork]]) -> str:
    """The category of an icon, as the first artist says who has CLDR's categories."""
    named = (drawn[artist][icon].category for artist in CATEGORISED if icon in drawn.get(artist, {}))
    return next((category for category in named if category), "")


def table_entries(table: str) -> Iterator[Entry]:
    """The entries of one of the tables beside this module, everyday, further or wide, in their written order."""
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


def _is_gendered(icon: str, arts: Container[str]) -> bool:
    """Whether the icon is the man or woman of a role that is an entry itself."""
    for gender in ("man-", "woman-"):
        bare = icon.removeprefix(gender)
        if bare != icon and (bare in arts or f"person-{bare}" in arts):
            return True
    return False
