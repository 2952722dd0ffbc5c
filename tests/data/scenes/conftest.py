"""A tiny atlas of our own drawings: flat figures with a shadow and a dark line, so no test needs a download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sumi.data.atlas import FORMAT, LEVELS_PX, Atlas, Row, shrink
from sumi.data.generator import Mix, Scenes
from sumi.data.people import Person
from sumi.data.rights import Rights
from sumi.data.vocabulary import Concept, Variant, Vocabulary

HANDS = ("fluent", "noto", "twemoji")
TONES, GENDERS = ("default", "light", "dark"), ("person", "woman", "man")

#: Concept -> icon, colour, width and height. The icons are ones that wear, hold, ride or carry.
THINGS: Mapping[str, tuple[str, tuple[int, int, int], float, float]] = {
    "fox": ("fox", (250, 120, 20), 1.0, 1.0),
    "cat": ("cat", (240, 170, 90), 0.9, 1.0),
    "dog": ("dog", (130, 80, 40), 1.0, 0.8),
    "car": ("automobile", (220, 40, 60), 1.0, 0.5),
    "tree": ("evergreen-tree", (30, 140, 60), 0.6, 1.0),
    "owl": ("owl", (110, 90, 60), 0.7, 1.0),
    "penguin": ("penguin", (40, 40, 50), 0.7, 1.0),
    "ghost": ("ghost", (235, 235, 245), 0.9, 1.0),
    "pizza": ("pizza", (250, 200, 60), 0.9, 1.0),
    "top hat": ("top-hat", (50, 50, 60), 1.0, 0.8),
    "crown": ("crown", (250, 200, 40), 1.0, 0.7),
    "sunglasses": ("sunglasses", (30, 30, 30), 1.0, 0.35),
    "balloon": ("balloon", (220, 30, 50), 0.6, 1.0),
    "guitar": ("guitar", (180, 100, 40), 0.8, 1.0),
    "book": ("closed-book", (60, 100, 190), 0.8, 1.0),
    "bicycle": ("bicycle", (70, 130, 200), 1.0, 0.7),
    "box": ("package", (200, 150, 100), 1.0, 0.9),
    "fish": ("fish", (60, 160, 220), 1.0, 0.6),
}


def draw(colour: tuple[int, int, int], width: float, height: float, squareness: float) -> NDArray[np.uint8]:
    """A rounded figure filling its box, lit from above, with a dark line: premultiplied (4, 256, 256)."""
    axis = (np.arange(256) + 0.5) / 128 - 1
    x, y = axis[None] / width, axis[:, None] / height
    reach = (np.abs(x) ** squareness + np.abs(y) ** squareness) ** (1 / squareness)
    alpha = np.clip((1 - reach) * 64 * min(width, height), 0, 1)
    shade = np.clip(1.1 - 0.35 * (y + 1) / 2, 0, 1) + np.zeros_like(x)
    line = (np.abs(reach - 0.55) < 0.03).astype(float)
    rgb = np.stack([channel * shade for channel in colour]) * (1 - line) + 25 * line
    return np.concatenate([rgb * alpha, 255 * alpha[None]]).round().clip(0, 255).astype(np.uint8)


def tight(picture: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    seen = picture[3] > 8
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return columns[0] / 256, rows[0] / 256, (columns[-1] + 1) / 256, (rows[-1] + 1) / 256


def _vocabulary() -> Vocabulary:
    concepts = [
        Concept(name, icon, "thing", (name, f"nice {name}"), (Variant(dict.fromkeys(HANDS, icon)),))
        for name, (icon, *_) in THINGS.items()
    ]
    chefs = tuple(
        Variant(dict.fromkeys(HANDS, f"{gender}-cook-{tone}"), Person("chef", gender, tone))
        for gender in GENDERS
        for tone in TONES
    )
    return Vocabulary((*concepts, Concept("chef", "cook", "person", ("chef", "cook"), chefs)))


def _atlas(vocabulary: Vocabulary, folder: Path) -> Atlas:
    rights = Rights("drawn for the tests", "1", "CC0-1.0", "nobody", "", "", "")
    rows, pictures = [], []
    for concept in vocabulary:
        for variant in concept.variants:
            for number, hand in enumerate(HANDS):
                _, colour, width, height = THINGS.get(concept.name, ("", (230, 190, 150), 0.8, 1.0))
                picture = draw(colour, width, height, 2.0 + number)
                pictures.append(picture)
                row = Row(concept.name, hand, variant.icons[hand], variant.person, tight(picture), rights)
                rows.append(asdict(row))
    for size in LEVELS_PX:
        np.save(folder / f"{size}.npy", shrink(np.stack(pictures), 256 // size))
    (folder / "rows.json").write_text(json.dumps({"format": FORMAT, "rows": rows}), "utf-8")
    return Atlas.open(folder)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Eighteen things and a role."""
    return _vocabulary()


@pytest.fixture(scope="session")
def atlas(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Every thing by three hands."""
    return _atlas(vocabulary, tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="session")
def scenes(atlas: Atlas, vocabulary: Vocabulary) -> Scenes:
    """The full mix, training split."""
    return Scenes(atlas, vocabulary, Mix.sticker(), seed=1)
