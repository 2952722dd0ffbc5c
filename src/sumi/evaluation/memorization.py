"""Memorization: whether the pictures of a model are copies of its training drawings.

    d(x) = min over drawings of the distance of `sumi.explain.nearest_drawings`

Three distances between drawings give it a scale:

    hands   from a drawing to the nearest of the same concept by another artist: how much two artists differ
    others  from a drawing to the nearest by another artist, of any concept
    copies  from a drawing to itself after the model's codec: how far a perfect copy would be

A picture is a near copy if it is nearer to a drawing than 95 per cent of these copies are. The pictures are those of
the exam in single things and in held-out colours; question k is drawn once, from seed + k. Single things are compared
with the drawings as they are, and mirrored, turned or without colours (`sumi.evaluation.transformed_copies`); coloured
ones with recoloured drawings (`sumi.evaluation.colour_copies`).
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
from sumi.evaluation.colour_copies import ColourCopyReport, measure_colour_copies
from sumi.evaluation.exam import Progress, prompt_drawer
from sumi.evaluation.intervals import Share
from sumi.evaluation.measurement import sample_sheet
from sumi.evaluation.questions import SEED, Question, Syllabus, make_questions
from sumi.evaluation.scores import Score
from sumi.evaluation.transformed_copies import TransformedCopies, measure_transformed_copies
from sumi.explain.nearest_drawings import aligned, all_distances, distances
from sumi.imaging.pixels import from_levels, resize_picture, to_levels, to_uint8
from sumi.imaging.png import save_png
from sumi.pipelines import UnCLIPPipeline
from sumi.systems.unclip.artist import Sumi

__all__ = [
    "MemorizationReport",
    "measure_memorization",
    "memorization_lines",
    "memorization_record",
    "save_memorization",
]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95)
NEAR_COPY = 0.95
FRAME, COPIES, BATCH = 0.85, 200, 20
"""The share of the frame that a drawing fills in `copies`, the number of copies, and the pictures a batch."""
SHOWN = 24


@dataclass(frozen=True)
class MemorizationReport:
    """The distances between the pictures of a model and its training drawings.

    Args:
        prompts: of the n pictures.
        drawn: the pictures as they are compared, uint8 (n, 4, S, S).
        near: the number of the drawing nearest to each picture.
        distances: from each picture to that drawing, (n,).
        hands: distances between artists, of the same concept.
        others: distances between artists, of any concept.
        copies: distances from drawings to their copies by the codec.
        recoloured: the same question about held-out colours.
        transformed: the same question about mirrored, turned and recoloured drawings.
    """

    prompts: tuple[str, ...]
    drawn: Tensor
    near: tuple[int, ...]
    distances: Tensor
    hands: Tensor
    others: Tensor
    copies: Tensor
    recoloured: ColourCopyReport | None = None
    transformed: TransformedCopies | None = None

    @property
    def threshold(self) -> float:
        """A picture at less than this distance is a near copy."""
        return float(self.copies.quantile(NEAR_COPY))

    @property
    def near_copies(self) -> Share:
        """The share of near copies."""
        return Share.of((self.distances < self.threshold).tolist())

    @property
    def nearer_than_hands(self) -> Share:
        """The share of pictures that are nearer to a drawing than the median distance between two artists."""
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
    """Draw the first n single things and n held-out colours of the exam, and compare them with every drawing.

    Raises:
        SumiError: when the model carries no drawings.
    """
    drawings = artist.drawings()
    if not isinstance(drawings, TrainingDrawings):
        raise SumiError(f"the model {artist.model.name} carries no drawings: 'sumi data drawings' writes them")
    asked, coloured = make_questions("single", syllabus, n), make_questions("colour", syllabus, n)
    small = draw_small(artist.pipeline, [*asked, *coloured], len(asked), drawings.pictures.shape[-1], progress)
    plain, painted = small[: len(asked)], small[len(asked) :]
    apart = torch.stack([distances(picture, drawings.pictures) for picture in plain])
    hands, others = drawing_distances(drawings)
    prompts = tuple(question.prompt for question in asked)
    near = tuple(apart.argmin(dim=1).tolist())
    copies, originals = codec_copies(artist.pipeline, drawings)
    found = MemorizationReport(
        prompts, plain, near, apart.amin(dim=1), hands, others, copy_distances(copies, originals)
    )
    artists = [row["source"] for row in drawings.rows]
    return replace(
        found,
        recoloured=measure_colour_copies(coloured, painted, drawings, found.threshold),
        transformed=measure_transformed_copies(plain, drawings.pictures, artists, copies, originals),
    )


def draw_small(
    pipeline: UnCLIPPipeline, asked: Sequence[Question], first: int, side: int, progress: Progress
) -> Tensor:
    """Draw questions, and return the pictures as they are compared.

    Args:
        pipeline: the model.
        asked: two lists of questions, one after the other; question k of each is drawn from seed + k.
        first: the length of the first list.
        side: S of the result.
        progress: called with (pictures drawn, all pictures).

    Returns:
        uint8 (n, 4, S, S), aligned.
    """
    draw, small = prompt_drawer(pipeline), list[Tensor]()
    for questions_of, begin in ((asked[:first], 0), (asked[first:], first)):
        for start in range(0, len(questions_of), BATCH):
            some = questions_of[start : start + BATCH]
            drawn = draw([question.prompt for question in some], range(SEED + start, SEED + start + len(some)))
            small += [aligned(picture.float() / 255, side) for picture in drawn]
            progress(begin + start + len(some), len(asked))
    return torch.stack(small)


def drawing_distances(drawings: TrainingDrawings) -> tuple[Tensor, Tensor]:
    """Return the distances from drawings to the nearest by another artist, of the same concept and of any."""
    plain = [number for number, row in enumerate(drawings.rows) if not row["person"]]
    hands = number_names([drawings.rows[number]["source"] for number in plain])
    things = number_names([drawings.rows[number]["concept"] for number in plain])
    apart = all_distances(drawings.pictures[plain], drawings.pictures[plain])
    others = apart.masked_fill(hands[:, None] == hands, math.inf)
    same = others.masked_fill(things[:, None] != things, math.inf).amin(dim=1)
    drawn_twice = same.isfinite()
    return same[drawn_twice], others.amin(dim=1)[drawn_twice]


def number_names(names: Sequence[str]) -> Tensor:
    """Return a number for each name, the same for equal names."""
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([order[name] for name in names])


@torch.no_grad()
def codec_copies(pipeline: UnCLIPPipeline, drawings: TrainingDrawings) -> tuple[Tensor, Tensor]:
    """Return about 200 evenly chosen drawings after the codec, aligned, and before it: uint8 (K, 4, S, S) each."""
    step = max(1, len(drawings.rows) // COPIES)
    chosen, side, inside = drawings.pictures[::step], drawings.pictures.shape[-1], round(FRAME * pipeline.size_px)
    margin = (pipeline.size_px - inside) // 2
    framed = torch.zeros(len(chosen), 4, pipeline.size_px, pipeline.size_px)
    for canvas, picture in zip(framed, chosen, strict=True):
        small = resize_picture(picture.float() / 255, (inside, inside))
        canvas[:, margin : margin + inside, margin : margin + inside] = small
    stage, levels = pipeline.decoder, to_uint8(framed)
    back = torch.cat([to_levels(stage.decode(stage.encode(from_levels(some)))) for some in torch.split(levels, BATCH)])
    return torch.stack([aligned(copy.float() / 255, side) for copy in back]), chosen


def copy_distances(copies: Tensor, originals: Tensor) -> Tensor:
    """Return how far each copy (K, 4, S, S) is from its original: (K,)."""
    return torch.cat([distances(copy, own[None]) for copy, own in zip(copies, originals, strict=True)])


def memorization_record(report: MemorizationReport, artist: Sumi, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the figures and each picture's nearest drawing as JSON values, with the model's hashes and the seeds."""
    nearest = [
        {"prompt": prompt, "seed": SEED + number, "distance": round(float(distance), 4), "drawing": dict(rows[near])}
        for number, (prompt, near, distance) in enumerate(
            zip(report.prompts, report.near, report.distances, strict=True)
        )
    ]
    rows = [Score.of_marks("near copies", (report.distances < report.threshold).tolist())]
    if report.transformed is not None:
        chances = report.transformed.chances
        marks = report.transformed.marks
        rows += [Score.of_marks(f"near copies, {name}", own, chances.get(name)) for name, own in marks.items()]
    if report.recoloured is not None:
        near = (report.recoloured.distances < report.recoloured.threshold).tolist()
        rows.append(Score.of_marks("near copies in a held-out colour", near))
    return {
        "suite": "memory",
        "model": artist.model.name,
        "hashes": dict(artist.model.hashes),
        "rows": {score.name: score.to_json() for score in rows},
        "seeds": [SEED, SEED + len(report.prompts) - 1],
        "near copies": {"nearer than": round(report.threshold, 4), **report.near_copies.to_json()},
        "nearer than half of the hands": report.nearer_than_hands.to_json(),
        "distances": {name: quantiles(values) for name, values in report.rows.items()},
        "transformed": None if report.transformed is None else report.transformed.to_json(),
        "held-out colours": None if report.recoloured is None else report.recoloured.to_json(),
        "pictures": nearest,
    }


def quantiles(values: Tensor) -> dict[str, float]:
    """Return the quantiles of some values by name."""
    found = values.quantile(torch.tensor(QUANTILES)).tolist()
    return {"least": round(found[0], 4)} | {
        f"{share:.0%}": round(value, 4) for share, value in zip(QUANTILES[1:], found[1:], strict=True)
    }


def memorization_lines(report: MemorizationReport) -> list[str]:
    """Return the figures as lines for the terminal."""
    wide = max(map(len, report.rows))
    said = [f"{'distance of':{wide}}  " + "  ".join(f"{name:>6}" for name in quantiles(report.distances))]
    for name, values in report.rows.items():
        said.append(f"{name:{wide}}  " + "  ".join(f"{value:6.3f}" for value in quantiles(values).values()))
    said.append(f"near copies (nearer than {report.threshold:.3f}): {report.near_copies}")
    said.append(f"nearer to a drawing than half of the hands to each other: {report.nearer_than_hands}")
    for more in (report.transformed, report.recoloured):
        said += [] if more is None else more.lines()
    return said


def memorization_sheet(report: MemorizationReport, drawings: TrainingDrawings) -> Image.Image:
    """Return pairs of a picture and its nearest drawing: the 24 nearest, then 24 spread evenly over the rest."""
    order = report.distances.argsort().tolist()
    rest = order[SHOWN:]
    chosen = order[:SHOWN] + rest[:: max(1, len(rest) // SHOWN)][:SHOWN]
    rows = []
    for number in chosen:
        near = report.near[number]
        row, pair = drawings.rows[near], torch.stack([report.drawn[number], drawings.pictures[near]])
        said = [report.prompts[number], f"{row['concept']}, {row['author']}: {float(report.distances[number]):.3f}"]
        rows.append((pair, said))
    return sample_sheet(rows, beside=6)


def save_memorization(report: MemorizationReport, artist: Sumi, drawings: TrainingDrawings, folder: Path) -> list[Path]:
    """Write the record and the sheet, and return their paths."""
    paths = [folder / "memory.json", folder / "memory.png"]
    write_atomic(paths[0], json.dumps(memorization_record(report, artist, drawings.rows), indent=1) + "\n")
    save_png(paths[1], memorization_sheet(report, drawings))
    return paths
