"""How well `Silhouette.head` finds heads on drawings whose heads are written down in `src/sumi/data/anchors.json`.

    python benchmarks/heads.py --artwork artwork

A head is found where its top and its middle are within 0.3 of its width. "Usual" is where the other artists draw the
head of the same bearer, as a layout planner knows it. Every drawing is also asked as its mirror image, with the same
usual place, since a decoder may draw either.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sumi.data.artwork import load_artwork
from sumi.data.atlas import build_atlas
from sumi.data.facets import Box, anchors_of
from sumi.data.vocabulary import Vocabulary
from sumi.evaluation.intervals import Share
from sumi.layout import Silhouette

Bearer = tuple[str, str, Silhouette, Box]


def bearers(artwork: Path) -> Iterator[Bearer]:
    """The icon, the artist, the silhouette, and the box of the head, in fractions of the tight box."""
    artworks = load_artwork(artwork)
    vocabulary = Vocabulary.wide(artworks)
    atlas = build_atlas(vocabulary, artworks, artwork / "cache")
    pictures = atlas.level(64)
    for number, row in enumerate(atlas.rows):
        anchors = anchors_of(row.icon, row.hand)
        if row.person is None and anchors is not None and anchors.head is not None:
            yield row.icon, row.hand, Silhouette.of_alpha(pictures[number][3]), anchors.head


def found(shape: Silhouette, head: Box, usual: tuple[float, float] | None, mirrored: bool) -> bool:
    """Whether the head of a silhouette is found."""
    if mirrored:
        shape, head = Silhouette(shape.cells[:, ::-1]), (1 - head[2], head[1], 1 - head[0], head[3])
    wide, high = shape.extent
    disc, width = shape.head(usual), (head[2] - head[0]) * wide
    right, down = disc.x - (head[0] + head[2]) / 2 * wide, disc.y - 0.83 * disc.r - head[1] * high
    return abs(right) < 0.3 * width and abs(down) < 0.3 * width


def middle(head: Box, shape: Silhouette) -> tuple[float, float]:
    """The middle of the disc of a head, in fractions of the tight box."""
    wide, high = shape.extent
    return (head[0] + head[2]) / 2, head[1] + min((head[2] - head[0]) * wide / high, head[3] - head[1]) / 2


def main() -> None:
    """Print the share of heads that are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    asked = list(bearers(given.artwork))
    for mirrored in (False, True):
        alone, told = [], []
        for icon, hand, shape, head in asked:
            others = [middle(one[3], one[2]) for one in asked if one[0] == icon and one[1] != hand]
            usual = tuple(np.mean(others, axis=0)) if others else None
            alone.append(found(shape, head, None, mirrored))
            told.append(found(shape, head, usual, mirrored))
        print(
            f"{'mirrored' if mirrored else 'as drawn'}: alone {Share.of(alone)}, told the usual place {Share.of(told)}"
        )


if __name__ == "__main__":
    main()
