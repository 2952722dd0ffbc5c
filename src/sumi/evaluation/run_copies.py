"""Does the model of a training run copy? Some of its drawings, each beside the training picture nearest to it.

The distance is that of `sumi exam memory`: RMSE over premultiplied RGBA, both pictures cut to what can be seen
(`sumi.explain.nearest_drawings`). Its scale are two other distances:

    between    from a training picture to the nearest other one: how alike the pictures are among themselves
    copies     from a training picture to itself after the model's codec: how far a perfect copy would be

A drawing nearer than 95 per cent of these copies is a near copy. Models that draw in pixels have no codec, and no such
limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sumi
from sumi.bundles import Adapter, TrainingDrawings
from sumi.bundles.drawings import SIDE_PX
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_array import fit_square
from sumi.data.picture_dataset import PictureRecord
from sumi.data.pool import Pool
from sumi.errors import SumiError
from sumi.evaluation.memorization import NEAR_COPY, codec_copies, copy_distances
from sumi.explain.nearest_drawings import aligned, all_distances, distances
from sumi.imaging.pixels import premultiply, to_image
from sumi.pipelines import Artist
from sumi.systems import SYSTEMS
from sumi.systems.run_folder import RunFolder
from sumi.systems.unclip.artist import Sumi

__all__ = ["CopiedPicture", "RunCopies", "measure_run_copies"]

MOST_COMPARED, MOST_SCALED = 20_000, 400
SIZE_PX = 64
"""Of training pictures as they are read, before they are cut to what can be seen."""
SEED, ANYTHING = 0, "anything"

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""


@dataclass(frozen=True)
class CopiedPicture:
    """A drawing and the training picture nearest to it, as they are compared, and how far apart they are, in [0, 1]."""

    prompt: str
    seed: int
    drawn: Image.Image
    nearest: Image.Image
    name: str
    distance: float


@dataclass(frozen=True)
class RunCopies:
    """What was measured.

    Attributes:
        pictures: the drawings, nearest to a training picture first.
        count: of training pictures that they were compared with.
        between: the median distance from a training picture to the nearest other one; NaN for a single one.
        threshold: a drawing at less is a near copy; None where the model has no codec.
        notes: what was not compared, a line each.
    """

    pictures: tuple[CopiedPicture, ...]
    count: int
    between: float
    threshold: float | None
    notes: tuple[str, ...] = ()

    @property
    def median(self) -> float:
        """The median distance of the drawings."""
        return float(np.median([picture.distance for picture in self.pictures]))

    @property
    def near_copies(self) -> int | None:
        """How many drawings are near copies; None where there is no limit."""
        threshold = self.threshold
        return None if threshold is None else sum(picture.distance < threshold for picture in self.pictures)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the pictures themselves."""
        return {
            "drawings": len(self.pictures),
            "compared_with": self.count,
            "median_distance": round(self.median, 4),
            "between_training_pictures": None if math.isnan(self.between) else round(self.between, 4),
            "near_copy_below": None if self.threshold is None else round(self.threshold, 4),
            "near_copies": self.near_copies,
            "notes": list(self.notes),
            "pictures": [
                {"prompt": one.prompt, "seed": one.seed, "nearest": one.name, "distance": round(one.distance, 4)}
                for one in self.pictures
            ],
        }


@dataclass(frozen=True)
class TrainingPictures:
    """What taught a model, small: premultiplied uint8 (N, 4, S, S), a name each, and prompts that ask for some."""

    pictures: Tensor
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def measure_run_copies(run: RunFolder, n: int, progress: Progress = lambda what, done, of: None) -> RunCopies:
    """Draw n pictures with the finished model of a run, and find the training picture nearest to each.

    Raises:
        SumiError: when the run has no finished model, draws nothing, or its training pictures are not there any more.
    """
    artist = open_model(run)
    taught = training_pictures(run, artist, progress)
    drawn = draw(artist, taught.prompts, n, progress)
    side = taught.pictures.shape[-1]
    found = []
    for prompt, seed, image in drawn:
        small = aligned(premultiply(image), side)
        apart = distances(small, taught.pictures)
        near = int(apart.argmin())
        beside = to_image(taught.pictures[near])
        found.append(CopiedPicture(prompt, seed, to_image(small), beside, taught.names[near], float(apart[near])))
    return RunCopies(
        tuple(sorted(found, key=lambda one: one.distance)),
        len(taught.pictures),
        distance_between(taught.pictures),
        copy_threshold(artist, taught.pictures),
        taught.notes,
    )


def open_model(run: RunFolder) -> Artist:
    """Return the finished model of a run; of a taught word, the model that learned it (SumiError)."""
    if run.model is None:
        raise SumiError("the run has no finished model yet, so nothing is drawn")
    if run.kind != "teach":
        return sumi.load(run.model)
    base = run.settings.get("start")
    return sumi.load(base).with_adapters(run.model.stem)


def training_pictures(run: RunFolder, artist: Artist, progress: Progress) -> TrainingPictures:
    """Return what taught the model of a run (SumiError)."""
    place = run.settings.get("pictures")
    drawings = artist.drawings() if run.kind != "teach" and place in (None, "scenes") else None
    if isinstance(drawings, TrainingDrawings):
        return of_drawings(drawings)
    if place == "scenes":
        return of_pool(run)
    if not isinstance(place, str):
        raise SumiError("the run does not say which pictures it learned from")
    dataset = open_dataset(place)
    left_out = run.data.get("left_out", [])
    records = [record for record in dataset if not any(f"/{record.name} " in f"/{line}" for line in left_out)]
    notes = []
    if len(records) > MOST_COMPARED:
        records = records[:: math.ceil(len(records) / MOST_COMPARED)]
        notes.append(f"Compared with {len(records):,} of {len(dataset):,} training pictures.")
    return of_records(records, run, notes, progress)


def of_records(
    records: Sequence[PictureRecord], run: RunFolder, notes: Sequence[str], progress: Progress
) -> TrainingPictures:
    """Read the pictures of a data set; those that cannot be read are left out (SumiError where none can)."""
    kept: list[tuple[Tensor, PictureRecord]] = []
    for done, record in enumerate(records, 1):
        try:
            square = torch.from_numpy(fit_square(record.open(), SIZE_PX))
        except SumiError:
            continue
        kept.append((aligned(square.float() / 255, SIDE_PX), record))
        progress("training pictures", done, len(records))
    if not kept:
        raise SumiError("none of the training pictures can be read any more")
    pictures = torch.stack([picture for picture, _ in kept])
    prompts = [asked_by(record, run) for _, record in kept]
    return TrainingPictures(pictures, tuple(record.name for _, record in kept), spread(prompts), tuple(notes))


def asked_by(record: PictureRecord, run: RunFolder) -> str:
    """Return the prompt that asks the model of a run for a picture that taught it."""
    if run.kind == "teach":
        assert run.model is not None
        return f"a {Adapter(run.model).record.word}"
    system = SYSTEMS.get(run.kind)
    if system is not None and "labels" in system.needs:
        return record.label
    return record.caption or record.label or ANYTHING


def of_drawings(drawings: TrainingDrawings) -> TrainingPictures:
    """Return the drawings that a model carries."""
    names = tuple(f"{row['concept']}, {row['author']}" for row in drawings.rows)
    prompts = [f"a {row['concept']}" for row in drawings.rows if not row["person"]]
    return TrainingPictures(drawings.pictures, names, spread(prompts or [ANYTHING]))


def of_pool(run: RunFolder) -> TrainingPictures:
    """Return the scenes that a system learned from (SumiError)."""
    pool, data = Pool(run.folder / "scenes"), run.record.get("data", {})
    numbers = range(0, len(pool), math.ceil(len(pool) / MOST_COMPARED))
    pictures = pool.pictures(int(data.get("size_px", pool.sizes_px[0])))
    small = torch.stack([aligned(torch.from_numpy(np.array(pictures[k])).float() / 255, SIDE_PX) for k in numbers])
    names = tuple(f"scene {k}: {pool.captions[k]}" for k in numbers)
    return TrainingPictures(small, names, spread([f"a {name}" for name in data.get("classes", [])] or [ANYTHING]))


def spread(prompts: Sequence[str]) -> tuple[str, ...]:
    """Return the different prompts in an order whose beginning is spread over all of them."""
    different = list(dict.fromkeys(prompts))
    order = np.random.default_rng(SEED).permutation(len(different))
    return tuple(different[k] for k in order)


def draw(artist: Artist, prompts: Sequence[str], n: int, progress: Progress) -> list[tuple[str, int, Image.Image]]:
    """Draw n pictures of prompts in turn, each from a seed of its own; SumiError where the model draws none of them."""
    drawn, fault = list[tuple[str, int, Image.Image]](), "it draws nothing"
    for number in range(n):
        prompt = prompts[number % len(prompts)]
        try:
            (picture,) = artist.generate(prompt, n=1, seed=SEED + number, size=artist.sizes[0], anyway=True)
        except SumiError as error:
            fault = str(error)
            continue
        drawn.append((prompt, SEED + number, picture.image.convert("RGBA")))
        progress("drawing", number + 1, n)
    if not drawn:
        raise SumiError(f"the model could not be asked for its training pictures: {fault}")
    return drawn


def distance_between(pictures: Tensor) -> float:
    """Return the median distance from a training picture to the nearest other one, over some of them."""
    if len(pictures) < 2:
        return math.nan
    chosen = torch.arange(0, len(pictures), math.ceil(len(pictures) / MOST_SCALED))
    apart = all_distances(pictures[chosen], pictures)
    apart[torch.arange(len(chosen)), chosen] = math.inf
    return float(apart.amin(dim=1).median())


def copy_threshold(artist: Artist, pictures: Tensor) -> float | None:
    """Return the distance below which a drawing is a near copy; None where the model draws in pixels."""
    if not isinstance(artist, Sumi):
        return None
    drawings = TrainingDrawings(torch.empty(0), pictures, [{} for _ in pictures], "")
    return float(copy_distances(*codec_copies(artist.pipeline, drawings)).quantile(NEAR_COPY))
