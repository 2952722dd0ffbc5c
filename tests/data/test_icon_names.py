"""One name for one thing: what artists call it, and what is left out with its reason."""

from __future__ import annotations

import re

import pytest

from sumi.data.artwork import ARTISTS, Artwork
from sumi.data.entries import ALSO, everyday_entries, further_entries, left_out, table_entries
from sumi.data.icon_names import artists_of, by_standard_name, standard_name
from sumi.data.rights import Rights
from sumi.data.scene import COLOURS
from sumi.data.split import Combination, is_held_out
from sumi.data.words import table

NOBODY = Rights("drawn for the tests", "1", "CC0-1.0", "nobody", "", "", "")


def drawing(artist: str, icon: str, category: str = "Objects") -> Artwork:
    """Return a drawing that shows nothing."""
    return Artwork(icon, artist, "<svg/>", category, NOBODY)


@pytest.mark.parametrize(
    ("artist", "icon", "name"),
    [
        ("noto", "fox", "fox"),
        ("fluent", "cook-medium-dark", "cook-medium-dark-skin-tone"),
        ("fluent", "person-elf-light", "elf-light-skin-tone"),
        ("fluent", "vertical-traffic-light", "vertical-traffic-light"),
        ("emojione", "bear-face", "bear"),
        ("noto", "person-dark-skin-tone-blond-hair", "person-blond-hair-dark-skin-tone"),
        ("fxemoji", "aubergine", "eggplant"),
        ("fxemoji", "gpa", "old-man-light-skin-tone"),
        ("fxemoji", "heartblue", None),
        ("noto-v1", "pistol", None),
    ],
)
def test_standard_name_of_an_artists_icon_is_noto_s(artist: str, icon: str, name: str | None) -> None:
    assert standard_name(icon, artist) == name


def test_by_standard_name_puts_the_same_thing_of_all_artists_together() -> None:
    icons = {"noto": "eggplant", "fluent": "eggplant", "fxemoji": "aubergine"}
    drawn = by_standard_name(drawing(artist, icon) for artist, icon in icons.items())
    assert artists_of(drawn) == {"eggplant": ("fluent", "fxemoji", "noto")}
    assert drawn["fxemoji"]["eggplant"].name == "aubergine", "the rights keep the artist's own name"


def test_icon_names_table_names_artists_that_are_fetched() -> None:
    tables = table("icon_names")
    assert set().union(*(set(entries) for entries in tables.values())) <= set(ARTISTS)
    for artist, renamed in tables["renamed"].items():
        assert not set(renamed) & set(tables["left_out"].get(artist, ())), artist


def test_left_out_gives_a_reason_for_every_pattern() -> None:
    patterns = left_out()
    assert all(reason for reason in patterns.values())
    assert any(re.fullmatch(pattern, "four-oclock") for pattern in patterns)
    taught = {entry.icon for entry in (*everyday_entries(), *further_entries())}
    out = {icon for icon in taught for pattern in patterns if re.fullmatch(pattern, icon)}
    assert out == {"black-cat"}, "a colour of the cat, which the further list has and the wide one has not"


def test_wide_table_names_nothing_twice_and_no_held_out_colour() -> None:
    entries = [entry for name in ("everyday", "further", "wide") for entry in table_entries(name)]
    named = [entry for entry in entries if entry.category != ALSO]
    assert len({entry.icon for entry in named}) == len(named)
    assert len({entry.names[0].lower() for entry in named}) == len(named)
    names = {entry.names[0].lower() for entry in named if entry.icon not in left_out()}
    coloured = [
        (name, colour) for name in names for colour in COLOURS if name.removeprefix(f"{colour} ") in names - {name}
    ]
    assert coloured, "a blue whale is another drawing than a whale"
    for name, colour in coloured:
        assert not is_held_out(Combination("colour", (name.removeprefix(f"{colour} "), colour))), name
