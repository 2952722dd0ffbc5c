"""The training of a judge from six flat drawings, so that no test needs a download."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sumi.data.atlas import FORMAT, LEVELS_PX, Atlas, Row, shrink
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
