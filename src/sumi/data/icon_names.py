"""One name for one thing, whatever an artist's icon set calls it.

    icon name of a set -> base name and skin tone -> standard name: CLDR's, as the newest Noto set spells it

Noto, Twemoji, Noto v1 and EmojiOne name their icons after CLDR, of different years; Fluent has endings of its own for
skin tones; FxEmoji uses Unicode's character names. `icon_names.json` holds what the rule does not decide: `renamed`
icons; icons `without_tone` that end like one that has; icons `left_out` because they show another thing than their name
says (a revolver called water pistol); and for a set with names of its own `every_icon` that is used. It was made by
codepoint and by Unicode's names, and checked by eye on sheets of every concept by every artist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sumi.data.artwork import Artwork
from sumi.data.words import table

__all__ = ["artists_of", "by_standard_name", "standard_name"]

_TONES = "medium-light|medium-dark|light|medium|dark"
_SKIN_TONE = re.compile(rf"-({_TONES})-skin-tone")
_FLUENT_TONE = re.compile(rf"-({_TONES})$")


def standard_name(icon: str, artist: str) -> str | None:
    """Return the standard name of an artist's icon, its skin tone last; None for an icon that is not used."""
    names = table("icon_names")
    if artist in names["every_icon"]:
        known = names["every_icon"][artist].get(icon)
        return None if known is None else str(known)
    base, tone = _without_tone(icon, artist)
    if base in names["left_out"].get(artist, ()):
        return None
    return f"{names['renamed'].get(artist, {}).get(base, base)}{tone}"


def by_standard_name(artworks: Iterable[Artwork]) -> dict[str, dict[str, Artwork]]:
    """Return artist -> standard name -> drawing; of two drawings of one name, the first by icon name."""
    drawn: dict[str, dict[str, Artwork]] = {}
    for art in sorted(artworks, key=lambda art: (art.hand, art.name)):
        name = standard_name(art.name, art.hand)
        if name is not None:
            drawn.setdefault(art.hand, {}).setdefault(name, art)
    return drawn


def artists_of(drawn: Mapping[str, Mapping[str, Artwork]]) -> dict[str, tuple[str, ...]]:
    """Return standard name -> the artists that drew it, from what `by_standard_name` returned."""
    found: dict[str, list[str]] = {}
    for artist, arts in drawn.items():
        for name in arts:
            found.setdefault(name, []).append(artist)
    return {name: tuple(artists) for name, artists in found.items()}


def _without_tone(icon: str, artist: str) -> tuple[str, str]:
    """The icon name without its skin tones, and these in the standard ending."""
    tones = _SKIN_TONE.findall(icon)
    base = _SKIN_TONE.sub("", icon)
    bare = table("icon_names")["without_tone"].get(artist, ())
    if artist == "fluent" and icon not in bare and (ending := _FLUENT_TONE.search(icon)):
        tones, base = [ending[1]], _FLUENT_TONE.sub("", icon)
    return base, "".join(f"-{tone}-skin-tone" for tone in tones)
