"""Plain things: one drawing on nothing, moved about a little, of a few things that can be told apart when small.

The pictures on which the systems of the lineage are compared, and which they are trained on when nobody brings others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sumi.data.atlas import Atlas, Progress, open_vocabulary
from sumi.data.generator import Mix, Scenes
from sumi.data.split import hash_share
from sumi.errors import SumiError

__all__ = ["THINGS", "plain_scenes"]

#: Forty of the everyday things, none of them held out.
THINGS = (
    "fox", "panda", "koala", "frog", "owl", "penguin", "whale", "fish", "octopus", "crab", "butterfly", "ladybug",
    "turtle", "apple", "banana", "strawberry", "watermelon", "pineapple", "carrot", "pizza", "donut", "hamburger",
    "mushroom", "cactus", "sunflower", "tulip", "star", "sun", "cloud", "snowman", "rainbow", "balloon", "umbrella",
    "crown", "car", "rocket", "heart", "house", "ghost", "soccer ball",
)  # fmt: skip


def plain_scenes(
    artwork: str | Path, seed: int, progress: Progress | None = None, *, held_out: bool | None = None
) -> Scenes:
    """Return numbered scenes of one plain thing each, of `THINGS` as far as the artwork has them.

    Of each thing that several artists drew, one artist's drawing is held out (`held_out_hand`).

    Args:
        artwork: The folder of the artwork.
        seed: Of the scenes.
        progress: Called while the atlas is built.
        held_out: True for scenes of the held-out drawings alone, False for all others, None for every drawing.

    Raises:
        SumiError: No thing was drawn by two artists, so that nothing can be held out.
    """
    everyday, atlas = open_vocabulary("everyday", artwork, progress)
    if held_out is not None:
        atlas = _part(atlas, held_out)
    return Scenes(atlas, everyday.subset(set(THINGS) & set(everyday.names)), Mix.singles().only("single"), seed)


def held_out_hand(concept: str, hands: Sequence[str]) -> str | None:
    """Return the artist whose drawing of a concept is held out: the one whose hash is least; None where one drew it."""
    several = sorted(set(hands))
    return min(several, key=lambda hand: hash_share(f"lineage|{concept}|{hand}")) if len(several) > 1 else None


def _part(atlas: Atlas, held_out: bool) -> Atlas:
    """Return the atlas whose other drawings go by a name that no vocabulary has."""
    hands: dict[str, list[str]] = {}
    for row in atlas.rows:
        hands.setdefault(row.concept, []).append(row.hand)
    aside = {concept: held_out_hand(concept, names) for concept, names in hands.items()}
    if not any(aside.values()):
        raise SumiError("no thing in the artwork was drawn by two artists, so no drawing can be held out")
    rows = [
        row if (row.hand == aside[row.concept]) == held_out else replace(row, concept=f"{row.concept}, set aside")
        for row in atlas.rows
    ]
    return Atlas(atlas.folder, tuple(rows))
