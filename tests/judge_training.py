"""The training of a judge from a few flat drawings, so that no test needs a download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sumi.data.atlas import FORMAT, LEVELS_PX, Atlas, Row, shrink
from sumi.data.people import Person
from sumi.data.rights import Rights
from sumi.data.vocabulary import Concept, Variant, Vocabulary
from sumi.judge.train_judge import JudgeTraining

DRAWN = {
    "fox": (250, 120, 20), "owl": (110, 90, 60), "tree": (30, 140, 60), "fish": (60, 160, 220), "book": (90, 60, 190),
    "taco": (240, 200, 60),
}  # fmt: skip


def make_judge_training(root: Path) -> JudgeTraining:
    """Return a training with 144 scenes in a new folder; `taco` is held out from every product."""
    (root / "atlas").mkdir()
    rights = Rights("drawn for the tests", "1", "CC0-1.0", "nobody", "", "", "")
    pictures, rows = [], []
    for number, (name, colour) in enumerate(DRAWN.items()):
        picture = np.zeros((4, 256, 256), dtype=np.uint8)
        edge = 16 * number
        window = (slice(edge, 256 - edge), slice(0, 256)) if number % 2 else (slice(0, 256), slice(edge, 256 - edge))
        picture[:, window[0], window[1]] = np.array([*colour, 255], dtype=np.uint8)[:, None, None]
        top, left = (window[axis].start / 256 for axis in (0, 1))
        rows.append(asdict(Row(name, "noto", name, None, (left, top, 1 - left, 1 - top), rights)))
        pictures.append(picture)
    for size in LEVELS_PX:
        np.save(root / "atlas" / f"{size}.npy", np.stack([shrink(picture, 256 // size) for picture in pictures]))
    (root / "atlas" / "rows.json").write_text(json.dumps({"format": FORMAT, "rows": rows}))
    concepts = tuple(Concept(name, name, "thing", (name,), (Variant({"noto": name}),)) for name in DRAWN)
    made = JudgeTraining(root, root / "run", num_scenes=144)
    made.__dict__.update(vocabulary=Vocabulary(concepts), atlas=Atlas.open(root / "atlas"))
    return made


TONED = {"default": (255, 204, 50), "light": (250, 220, 190), "dark": (90, 60, 45)}
CLOTHES = {"chef": (240, 240, 240), "farmer": (60, 90, 190)}


def make_people_training(root: Path, roles: Sequence[str]) -> JudgeTraining:
    """Return a training whose people are faces of three tones: women have long hair, and all have eyes."""
    (root / "atlas").mkdir()
    rights = Rights("drawn for the tests", "1", "CC0-1.0", "nobody", "", "", "")
    pictures, rows, concepts = [], [], []
    for role in roles:
        variants = []
        for gender in ("woman", "man"):
            for tone, colour in TONED.items():
                picture = np.zeros((4, 256, 256), dtype=np.uint8)
                picture[:, 200:256, 30:226] = np.array([*CLOTHES[role], 255], dtype=np.uint8)[:, None, None]
                hair = 190 if gender == "woman" else 50
                picture[:, 0:hair, 20:236] = np.array([110, 60, 20, 255], dtype=np.uint8)[:, None, None]
                picture[:, 30:200, 60:196] = np.array([*colour, 255], dtype=np.uint8)[:, None, None]
                for x in (95, 145):
                    picture[:3, 90:110, x : x + 18] = 20
                pictures.append(picture)
                person, icon = Person(role, gender, tone), f"{gender}-{role}-{tone}"
                rows.append(asdict(Row(role, "noto", icon, person, (0.08, 0.0, 0.92, 1.0), rights)))
                variants.append(Variant({"noto": icon}, person))
        concepts.append(Concept(role, role, "people", (role,), tuple(variants)))
    concepts.append(Concept("fox", "fox", "thing", ("fox",), (Variant({"noto": "fox"}),)))
    fox = np.zeros((4, 256, 256), dtype=np.uint8)
    fox[:, 40:210] = np.array([250, 120, 20, 255], dtype=np.uint8)[:, None, None]
    pictures.append(fox)
    rows.append(asdict(Row("fox", "noto", "fox", None, (0.0, 0.16, 1.0, 0.82), rights)))
    for size in LEVELS_PX:
        np.save(root / "atlas" / f"{size}.npy", np.stack([shrink(picture, 256 // size) for picture in pictures]))
    (root / "atlas" / "rows.json").write_text(json.dumps({"format": FORMAT, "rows": rows}))
    made = JudgeTraining(root, root / "run", num_scenes=144)
    made.__dict__.update(vocabulary=Vocabulary(tuple(concepts)), atlas=Atlas.open(root / "atlas"))
    return made
