"""Plain things: one drawing on nothing, moved about a little, of a few things that can be told apart when small.

The pictures on which the systems of the lineage are compared, and which they are trained on when nobody brings others.
"""

from __future__ import annotations

from pathlib import Path

from sumi.data.artwork import load_artwork
from sumi.data.atlas import Progress, build_atlas
from sumi.data.generator import Mix, Scenes
from sumi.data.vocabulary import Vocabulary

#: Forty of the everyday things, none of them held out.
THINGS = (
    "fox", "panda", "koala", "frog", "owl", "penguin", "whale", "fish", "octopus", "crab", "butterfly", "ladybug",
    "turtle", "apple", "banana", "strawberry", "watermelon", "pineapple", "carrot", "pizza", "donut", "hamburger",
    "mushroom", "cactus", "sunflower", "tulip", "star", "sun", "cloud", "snowman", "rainbow", "balloon", "umbrella",
    "crown", "car", "rocket", "heart", "house", "ghost", "soccer ball",
)  # fmt: skip


def plain_scenes(artwork: str | Path, seed: int, progress: Progress | None = None) -> Scenes:
    """Numbered scenes of one plain thing each, of `THINGS` as far as the artwork has them; by every hand."""
    artworks = load_artwork(artwork)
    everyday = Vocabulary.everyday(artworks)
    atlas = build_atlas(everyday, artworks, Path(artwork) / "cache", progress)
    return Scenes(atlas, everyday.subset(set(THINGS) & set(everyday.names)), Mix.singles().only("single"), seed)
