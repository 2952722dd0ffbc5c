"""Whether a model draws or copies: how near its pictures come to the drawings that taught it.

    d(x) = min over drawings of the distance of `sumi.explain.nearest_drawings`

A distance says nothing alone, so three others stand beside it, of drawings alone:

    hands   a drawing to the nearest of its concept by another hand: how far two people are who draw one thing
    others  a drawing to the nearest of all that another hand drew
    copy    a drawing to itself after the model's own codec: how far a perfect copy would be

A picture nearer than 95 of 100 copies are is a near copy, whatever else it is. Pictures are those of the exam in single
things and in held-out colours: question k is drawn from seed + k, once. Single things are compared with the drawings as
they are, coloured ones with the drawings of their thing in the colour asked for (`sumi.evaluation.recoloured`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.bundles import TrainingDrawings
from sumi.errors import SumiError
from sumi.evaluation.exam import Progress, drawer
from sumi.evaluation.intervals import Share
from sumi.evaluation.measurement import sample_sheet
from sumi.evaluation.questions import SEED, Question, Syllabus, questions
from sumi.evaluation.recoloured import RecolouredCopies, recoloured_copies
from sumi.explain.nearest_drawings import aligned, all_distances, distances
from sumi.imaging.pixels import from_levels, resize_picture, to_levels, to_uint8
from sumi.imaging.png import save_png
from sumi.pipelines import Generate
from sumi.systems.unclip.artist import Sumi

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95)
NEAR_COPY = 0.95
FRAME, COPIES, BATCH = 0.85, 200, 20
"""A copy is made of a drawing that fills so much of the frame, as scenes show them; of so many drawings."""
SHOWN = 24


@dataclass(frozen=True)
class MemorizationReport:
    """What was found. drawn: pictures as compared, uint8 (n, 4, S, S). near: number of the drawing nearest to each."""

    prompts: tuple[str, ...]
    drawn: Tensor
    near: tuple[int, ...]
    distances: Tensor
    hands: Tensor
    others: Tensor
    copies: Tensor
    recoloured: RecolouredCopies | None = None

    @property
    def threshold(self) -> float:
        """What is nearer than this is a near copy."""
        return float(self.copies.quantile(NEAR_COPY))

    @property
    def near_copies(self) -> Share:
        """How many pictures are."""
        return Share.of((self.distances < self.threshold).tolist())

    @property
    def nearer_than_hands(self) -> Share:
        """How many are nearer to a drawing than half of all drawings are to another hand's of the same thing."""
        return Share.of((self.distances < self.hands.median()).tolist())

    @property
    def rows(self) -> dict[str, Tensor]:
        """Every distribution by its name."""
        return {
            "a picture to its nearest drawing": self.distances,
            "a drawing to another hand's of the same thing": self.hands,
            "a drawing to another hand's of anything": self.others,
            "a drawing to its copy by the codec": self.copies,
        }


def measure_memorization(
    artist: Sumi, syllabus: Syllabus, n: int, progress: Progress = lambda done, of: None
) -> MemorizationReport:
    """Draw the first n single things of the exam, and hold each against every drawing; SumiError without drawings."""
    drawings = artist.drawings()
    if not isinstance(drawings, TrainingDrawings):
        raise SumiError(f"the model {artist.model.name} carries no drawings: 'sumi data drawings' writes them")
    asked, coloured = questions("single", syllabus, n), questions("colour", syllabus, n)
    small = drawn_small(artist.pipeline, [*asked, *coloured], len(asked), drawings.pictures.shape[-1], progress)
    plain, painted = small[: len(asked)], small[len(asked) :]
    apart = torch.stack([distances(picture, drawings.pictures) for picture in plain])
    hands, others = between(drawings)
    prompts = tuple(question.prompt for question in asked)
    near = tuple(apart.argmin(dim=1).tolist())
    found = MemorizationReport(
        prompts, plain, near, apart.amin(dim=1), hands, others, codec_distances(artist.pipeline, drawings)
    )
    return replace(found, recoloured=recoloured_copies(coloured, painted, drawings, found.threshold))


def drawn_small(pipeline: Generate, asked: Sequence[Question], first: int, side: int, progress: Progress) -> Tensor:
    """Draw questions and return the pictures as they are compared, uint8 (n, 4, side, side).

    The first `first` questions and the rest are two lists; question k of either is drawn from seed + k.
    """
    draw, small = drawer(pipeline), list[Tensor]()
    for questions_of, begin in ((asked[:first], 0), (asked[first:], first)):
        for start in range(0, len(questions_of), BATCH):
            some = questions_of[start : start + BATCH]
            drawn = draw([question.prompt for question in some], range(SEED + start, SEED + start + len(some)))
            small += [aligned(picture.float() / 255, side) for picture in drawn]
            progress(begin + start + len(some), len(asked))
    return torch.stack(small)


def between(drawings: TrainingDrawings) -> tuple[Tensor, Tensor]:
    """Distances of drawings to the nearest by another hand: of the same thing, and of anything; no persons."""
    plain = [number for number, row in enumerate(drawings.rows) if not row["person"]]
    hands = numbered([drawings.rows[number]["source"] for number in plain])
    things = numbered([drawings.rows[number]["concept"] for number in plain])
    apart = all_distances(drawings.pictures[plain], drawings.pictures[plain])
    others = apart.masked_fill(hands[:, None] == hands, math.inf)
    same = others.masked_fill(things[:, None] != things, math.inf).amin(dim=1)
    drawn_twice = same.isfinite()
    return same[drawn_twice], others.amin(dim=1)[drawn_twice]


def numbered(names: Sequence[str]) -> Tensor:
    """Names as numbers, equal ones alike."""
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([order[name] for name in names])


@torch.no_grad()
def codec_distances(pipeline: Generate, drawings: TrainingDrawings) -> Tensor:
    """Distances of evenly chosen drawings to themselves after the codec of the decoder, there and back."""
    step = max(1, len(drawings.rows) // COPIES)
    chosen, side, inside = drawings.pictures[::step], drawings.pictures.shape[-1], round(FRAME * pipeline.size_px)
    margin = (pipeline.size_px - inside) // 2
    framed = torch.zeros(len(chosen), 4, pipeline.size_px, pipeline.size_px)
    for canvas, picture in zip(framed, chosen, strict=True):
        small = resize_picture(picture.float() / 255, (inside, inside))
        canvas[:, margin : margin + inside, margin : margin + inside] = small
    stage, levels = pipeline.decoder, to_uint8(framed)
    back = torch.cat([to_levels(stage.decode(stage.encode(from_levels(some)))) for some in torch.split(levels, BATCH)])
    pairs = zip(back, chosen, strict=True)
    return torch.cat([distances(aligned(copy.float() / 255, side), picture[None]) for copy, picture in pairs])


def record(memory: MemorizationReport, artist: Sumi, rows: Sequence[Any]) -> dict[str, Any]:
    """Return figures and every picture's nearest drawing as JSON values, with what decides them."""
    nearest = [
        {"prompt": prompt, "seed": SEED + number, "distance": round(float(distance), 4), "drawing": dict(rows[near])}
        for number, (prompt, near, distance) in enumerate(
            zip(memory.prompts, memory.near, memory.distances, strict=True)
        )
    ]
    return {
        "model": artist.model.name,
        "hashes": dict(artist.model.hashes),
        "seeds": [SEED, SEED + len(memory.prompts) - 1],
        "near copies": {"nearer than": round(memory.threshold, 4), **memory.near_copies.to_json()},
        "nearer than half of the hands": memory.nearer_than_hands.to_json(),
        "distances": {name: spread(values) for name, values in memory.rows.items()},
        "held-out colours": None if memory.recoloured is None else memory.recoloured.to_json(),
        "pictures": nearest,
    }


def spread(values: Tensor) -> dict[str, float]:
    """Quantiles by their names."""
    found = values.quantile(torch.tensor(QUANTILES)).tolist()
    return {"least": round(found[0], 4)} | {
        f"{share:.0%}": round(value, 4) for share, value in zip(QUANTILES[1:], found[1:], strict=True)
    }


def lines(memory: MemorizationReport) -> list[str]:
    """Return the figures for the terminal."""
    wide = max(map(len, memory.rows))
    said = [f"{'distance of':{wide}}  " + "  ".join(f"{name:>6}" for name in spread(memory.distances))]
    for name, values in memory.rows.items():
        said.append(f"{name:{wide}}  " + "  ".join(f"{value:6.3f}" for value in spread(values).values()))
    said.append(f"near copies (nearer than {memory.threshold:.3f}): {memory.near_copies}")
    said.append(f"nearer to a drawing than half of the hands to each other: {memory.nearer_than_hands}")
    return said if memory.recoloured is None else [*said, *memory.recoloured.lines()]


def sheet(memory: MemorizationReport, drawings: TrainingDrawings) -> Image.Image:
    """Return pictures beside their nearest drawings: the nearest of all, then as many spread evenly over the rest."""
    order = memory.distances.argsort().tolist()
    rest = order[SHOWN:]
    chosen = order[:SHOWN] + rest[:: max(1, len(rest) // SHOWN)][:SHOWN]
    rows = []
    for number in chosen:
        near = memory.near[number]
        row, pair = drawings.rows[near], torch.stack([memory.drawn[number], drawings.pictures[near]])
        said = [memory.prompts[number], f"{row['concept']}, {row['author']}: {float(memory.distances[number]):.3f}"]
        rows.append((pair, said))
    return sample_sheet(rows, beside=6)


def save(memory: MemorizationReport, artist: Sumi, drawings: TrainingDrawings, folder: Path) -> list[Path]:
    """Write the record and the sheet; returns their paths."""
    paths = [folder / "memory.json", folder / "memory.png"]
    write_atomic(paths[0], json.dumps(record(memory, artist, drawings.rows), indent=1) + "\n")
    save_png(paths[1], sheet(memory, drawings))
    return paths
