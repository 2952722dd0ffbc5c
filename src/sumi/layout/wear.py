"""Accessories: where on a body a thing is worn, and how large it is there.

    a hat's brim lies on the skull, glasses on the eyes, a scarf below the chin: all measured from the disc of the head

The numbers are medians over 276 drawings with 102 bearers, whose places `sumi/data/anchors.json` writes down. A word is
known by its last part, so that "a red top hat" is a hat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sumi.autoregressive import LayoutBox
from sumi.layout.silhouette import Box, Disc, Silhouette

__all__ = ["Wear", "held_box", "is_wearable", "wearable_of", "worn_box"]


@dataclass(frozen=True)
class Wear:
    """How a thing is worn.

    Args:
        at: the height at which it lies, in radii of the head below its middle.
        width: its width, in diameters of the head.
        rest: the share of its own height that is above that line.
    """

    at: float
    width: float
    rest: float

    @property
    def on_skull(self) -> bool:
        """Whether it rests on the top of the head."""
        return self.at == SKULL


SKULL, EYES, NECK, CHEST, FEET = -0.83, -0.13, 0.55, 1.5, 9.0
_CLASSES: Mapping[str, tuple[Wear, tuple[str, ...]]] = {
    "hat": (Wear(SKULL, 0.85, 0.9), ("hat", "beanie", "beret", "fez", "turban", "bonnet", "sombrero", "fedora")),
    "crown": (Wear(SKULL, 0.72, 0.92), ("crown", "tiara", "diadem")),
    "cap": (Wear(SKULL, 0.9, 0.8), ("cap", "helmet", "hood", "hard hat", "mortarboard")),
    "wide hat": (Wear(SKULL, 1.1, 0.8), ("sun hat", "woman's hat", "straw hat", "graduation cap")),
    "bow": (Wear(SKULL, 0.5, 0.7), ("ribbon", "bow", "hair bow", "flower crown", "halo", "wig")),
    "headphones": (Wear(SKULL, 1.05, 0.3), ("headphones", "headphone", "headset", "earmuffs")),
    "glasses": (Wear(EYES, 0.8, 0.5), ("glasses", "sunglasses", "goggles", "eyeglasses", "spectacles")),
    "mask": (Wear(0.2, 0.85, 0.5), ("mask",)),
    "scarf": (Wear(NECK, 0.95, 0.15), ("scarf", "shawl", "collar")),
    "tie": (Wear(NECK, 0.4, 0.1), ("tie", "necktie", "bow tie", "medal", "necklace", "pendant", "whistle")),
    "top": (
        Wear(CHEST, 1.5, 0.5),
        ("shirt", "t-shirt", "coat", "jacket", "dress", "vest", "kimono", "sari", "cape", "sweater"),
    ),
    "shoes": (Wear(FEET, 0.8, 0.8), ("shoe", "shoes", "boot", "boots", "sneaker", "sandal", "skates", "socks")),
}
_BY_WORDS = {word: wearable for wearable, words in _CLASSES.values() for word in words}
"""Names of what is worn."""
HELD = 0.4
"""The longest side of what is held, in those of who holds it."""


def wearable_of(noun: str) -> Wear | None:
    """Return how a thing is worn; None for a thing that is not. noun: its name, in the singular or the plural."""
    words = noun.casefold().split()
    for start in range(len(words)):
        ending = " ".join(words[start:])
        found = _BY_WORDS.get(ending) or _BY_WORDS.get(ending.removesuffix("s")) or _BY_WORDS.get(f"{ending}s")
        if found is not None:
            return found
    return None


def is_wearable(noun: str) -> bool:
    """Return whether a thing is worn."""
    return wearable_of(noun) is not None


def worn_box(wearable: Wear, bearer: Silhouette, thing: Silhouette, usual: LayoutBox | None) -> Box:
    """Return the box of what a bearer wears, in its bearer's longest sides from the top left corner of its tight box.

    Args:
        wearable: how it is worn.
        bearer: as it was drawn.
        thing: as it was drawn.
        usual: where such a bearer usually wears it, from its bearer's middle, in its bearer's longest sides.
    """
    place = None if usual is None else _usual_head(wearable, bearer, thing, usual)
    head, (_, bottom) = bearer.head(place), bearer.extent
    wide, high = thing.extent
    width = 2 * head.r * wearable.width
    # Never too small to see, and never so tall that it hides who wears it.
    width = min(max(width, 0.24 * wide / max(wide, high)), 0.62 * wide / high)
    height = width * high / wide
    level = min(_level(wearable, head, bottom), bottom)
    top = level - wearable.rest * height
    return Box(head.x - width / 2, top, head.x + width / 2, top + height)


def _usual_head(wearable: Wear, bearer: Silhouette, thing: Silhouette, usual: LayoutBox) -> tuple[float, float]:
    """Return where the middle of a head is whose accessory is at its usual place, in fractions of the tight box."""
    (wide, high), (width, height) = bearer.extent, (usual.side * length for length in thing.extent)
    radius, line = width / wearable.width / 2, usual.y + (wearable.rest - 0.5) * height
    return usual.x / wide + 0.5, (line - wearable.at * radius) / high + 0.5


def _level(wearable: Wear, head: Disc, bottom: float) -> float:
    """Return the height at which a thing lies; a face that is all head has its neck at its chin."""
    all_head = 2 * head.r > 0.66 * bottom
    return head.y + head.r * (0.85 if all_head and wearable.at == NECK else wearable.at)


def held_box(bearer: Silhouette, thing: Silhouette, right: bool) -> Box:
    """Return the box of what a bearer holds at one side: beside its outline, at two thirds of its height, touching it.

    In its bearer's longest sides, as `worn_box`.
    """
    wide, high = bearer.extent
    width, height = (HELD * length for length in thing.extent)
    cells = bearer.cells
    row = cells[min(len(cells) - 1, int(0.66 * len(cells)))]
    covered = row.nonzero()[0]
    edges = (covered[0], covered[-1] + 1) if len(covered) else (0, len(row))
    edge = edges[right] / len(row) * wide
    x, y = edge + (0.3 if right else -0.3) * width, 0.6 * high
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
