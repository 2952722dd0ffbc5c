"""Planted canaries: how often a picture must be in a training set until a model draws it from memory.

A canary is a pattern of random colours, which can be known only by having seen it. Some are planted 1, 10 and 100
times, each under a label of its own, among drawings of things. A tiny labelled model (`SYSTEM`) learns the set, and is
asked for each label. R patterns by the same rule are never planted. With the rank of the canary among itself and them,
by the distance to what was drawn,

    exposure = log2(R + 1) - log2(rank)      from 0 to log2(R + 1) bits; by chance mean_k log2((R + 1) / k), about 1.4

after Carlini et al. 2019, "The Secret Sharer" (arXiv 1802.08232), section 4.2, who rank by likelihood. Copies after the
first are resized and compressed, as copies on the web are. Then `sumi.curation.duplicates`, the search of `sumi data
dedup`, cleans the set, and another model learns what is left for as many epochs: a picture that was there once is seen
equally often by both models.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.bundles import TrainingDrawings
from sumi.conditioning import CLIP
from sumi.curation.duplicates import find_duplicates
from sumi.curation.embedding import embed_views
from sumi.curation.scan import scan_pictures
from sumi.curation.selection import write_selection
from sumi.data.open_dataset import open_dataset
from sumi.evaluation.intervals import BoundedValue, Mean, Share
from sumi.evaluation.scores import Score
from sumi.explain.nearest_drawings import all_distances
from sumi.imaging.pixels import to_image
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, method_for
from sumi.systems.dataset import of_own_pictures
from sumi.systems.pipeline import SampleRequest
from sumi.systems.train_system import Budget, train_stages

__all__ = [
    "CanaryPlan",
    "CanaryResult",
    "expected_exposure",
    "exposures",
    "make_patterns",
    "run_canaries",
    "shown_pictures",
]

SYSTEM = "classifier_free"
CELLS, CELL_PX, SIZE_PX = 4, 16, 16
COPY_PX, QUALITY = (48, 96), 85
"""The sides of copies, from and to, and the quality of those that are JPEG."""
BATCH, SAMPLING_STEPS = 64, 50
ENDING = {"PNG": "png", "JPEG": "jpg"}
Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""


@dataclass(frozen=True)
class CanaryPlan:
    """What is planted, and how it is learned.

    Attributes:
        copies: how often a canary is planted.
        each: canaries of each of these.
        decoys: R, patterns that are never planted.
        drawings: pictures of things among which they are planted.
        epochs: how often training sees each file.
        draws: pictures drawn of each canary.
        seed: of the patterns, the training and the pictures.
    """

    copies: tuple[int, ...] = (1, 10, 100)
    each: int = 6
    decoys: int = 255
    drawings: int = 600
    epochs: int = 40
    draws: int = 4
    seed: int = 1

    @property
    def repeats(self) -> tuple[int, ...]:
        """How often each canary is planted."""
        return tuple(count for count in self.copies for _ in range(self.each))


@dataclass(frozen=True)
class CanaryResult:
    """The exposures of the canaries in two models.

    Attributes:
        plan: what was planted.
        ranks: (models, canaries, draws), from 1; before and after deduplication.
        files: how many files each model learned from.
        left: how many files of each canary deduplication left.
        canaries: the patterns, uint8 (canaries, 4, S, S).
        drawn: the pictures, uint8 (models, canaries, draws, 4, S, S).
    """

    plan: CanaryPlan
    ranks: Tensor
    files: tuple[int, int]
    left: tuple[int, ...]
    canaries: Tensor
    drawn: Tensor

    @property
    def scores(self) -> list[Score]:
        """For each number of copies: the exposure before and after, their paired difference, and those drawn again."""
        count, rows = self.plan.decoys + 1, list[Score]()
        bits, expected = exposures(self.ranks, count).mean(dim=2), expected_exposure(count)
        chance, even = BoundedValue(expected, expected, expected, count), Share(1, count)
        for copies in self.plan.copies:
            own = [number for number, planted in enumerate(self.plan.repeats) if planted == copies]
            planted = f"planted {copies} time{'s' * (copies > 1)}"
            for model, when in enumerate(("before", "after")):
                rows.append(
                    Score(f"{planted}, exposure {when}", Mean(tuple(bits[model, own].tolist()), "bits"), chance)
                )
            change = tuple((bits[1, own] - bits[0, own]).tolist())
            rows.append(Score(f"{planted}, exposure after - before", Mean(change, "bits")))
            for model, when in enumerate(("before", "after")):
                nearest = (self.ranks[model, own] == 1).flatten().tolist()
                rows.append(Score.of_marks(f"{planted}, drawn again {when}", nearest, even))
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return the settings and the figures as JSON values."""
        plan = {name: getattr(self.plan, name) for name in self.plan.__dataclass_fields__}
        return {
            "model": SYSTEM,
            "hashes": {},
            "settings": plan | {"copies": list(self.plan.copies), "size_px": SIZE_PX, "steps": SAMPLING_STEPS},
            "learned_from": dict(zip(("before", "after"), self.files, strict=True)),
            "canaries": [
                {"label": label_of_canary(k), "planted": planted, "left": left, "ranks": self.ranks[:, k].tolist()}
                for k, (planted, left) in enumerate(zip(self.plan.repeats, self.left, strict=True))
            ],
            "rows": {score.name: score.to_json() for score in self.scores},
        }


def make_patterns(count: int, seed: int) -> Tensor:
    """Return patterns of 4 x 4 random colours, each channel 0 or 255, opaque: uint8 (count, 4, 4, 4)."""
    rng = torch.Generator().manual_seed(seed)
    colours = 255 * torch.randint(0, 2, (count, 3, CELLS, CELLS), generator=rng, dtype=torch.uint8)
    return torch.cat([colours, torch.full_like(colours[:, :1], 255)], dim=1)


def enlarge(patterns: Tensor, size_px: int) -> Tensor:
    """Return patterns (N, 4, 4, 4) with equal squares of pixels, (N, 4, size_px, size_px)."""
    return patterns.repeat_interleave(size_px // CELLS, 2).repeat_interleave(size_px // CELLS, 3)


def exposures(ranks: Tensor, count: int) -> Tensor:
    """Return log2(count) - log2(rank) for ranks from 1 to count."""
    return math.log2(count) - ranks.double().log2()


def expected_exposure(count: int) -> float:
    """Return the mean exposure of a canary whose rank among `count` is random."""
    return float(exposures(torch.arange(1, count + 1), count).mean())


def rank_canaries(drawn: Tensor, canaries: Tensor, decoys: Tensor) -> Tensor:
    """Return the rank of each canary among itself and the decoys, by the distance to what was drawn of it.

    Args:
        drawn: uint8 (C, D, 4, S, S).
        canaries: uint8 (C, 4, S, S).
        decoys: uint8 (R, 4, S, S).

    Returns:
        (C, D), from 1; a decoy that is as near ranks before the canary.
    """
    ranks = []
    for pictures, own in zip(drawn, canaries, strict=True):
        apart = all_distances(pictures, torch.cat([own[None], decoys]))
        ranks.append(1 + (apart[:, 1:] <= apart[:, :1]).sum(dim=1))
    return torch.stack(ranks)


def label_of_canary(number: int) -> str:
    """Return the label, and prompt, of a canary."""
    return f"canary {number:02}"


def plant(folder: Path, patterns: Tensor, drawings: TrainingDrawings, plan: CanaryPlan) -> Path:
    """Write drawings of things and the planted canaries as an image folder, and return it."""
    rng, rows = torch.Generator().manual_seed(plan.seed), list[dict[str, str]]()
    folder.mkdir(parents=True)

    def write(name: str, image: Image.Image, label: str, kind: str = "PNG") -> None:
        file = io.BytesIO()
        image.convert("RGB" if kind == "JPEG" else "RGBA").save(file, kind, quality=QUALITY)
        write_atomic(folder / f"{name}.{ENDING[kind]}", file.getvalue())
        rows.append({"file_name": f"{name}.{ENDING[kind]}", "label": label})

    chosen = torch.randperm(len(drawings.rows), generator=rng)[: plan.drawings].tolist()
    for number in chosen:
        write(f"drawing-{number:05}", to_image(drawings.pictures[number]), str(drawings.rows[number]["concept"]))
    for number, planted in enumerate(plan.repeats):
        image = to_image(enlarge(patterns[number : number + 1], CELLS * CELL_PX)[0])
        for copy in range(planted):
            side = int(torch.randint(*COPY_PX, (), generator=rng)) if copy else image.width
            kind = "JPEG" if copy % 2 else "PNG"
            changed = image.resize((side, side), Image.Resampling.BICUBIC)
            write(f"canary-{number:02}-{copy:03}", changed, label_of_canary(number), kind)
    write_atomic(folder / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def deduplicate(folder: Path, out: Path, clip: CLIP, progress: Progress) -> tuple[Path, list[str]]:
    """Write what `sumi data dedup` leaves of an image folder, and return where, with the names of the files left."""
    dataset = open_dataset(folder)
    scans = scan_pictures(dataset, partial(progress, "looking for copies"), views=True)
    groups = find_duplicates(dataset, scans, embed=partial(embed_views, clip=clip))
    dropped = {number for group in groups for number in group.others}
    left = [dataset[number] for number in range(len(dataset)) if number not in dropped]
    return write_selection(left, out).parent, [record.name for record in left]


def learn_and_draw(folder: Path, run: Path, plan: CanaryPlan, canaries: int) -> tuple[Tensor, int]:
    """Train the model on an image folder, and draw each canary's label.

    Returns:
        The pictures, uint8 (canaries, draws, 4, S, S), and the number of files.
    """
    system = SYSTEMS[SYSTEM]
    data, _ = of_own_pictures(folder, SIZE_PX, system)
    count = len(data.examples.pictures)
    budget = Budget(num_steps=math.ceil(plan.epochs * count / BATCH))
    parts = train_stages(system, data, run, budget, rehearsed=False, quiet=True, seed=plan.seed)
    if parts is None:
        raise KeyboardInterrupt
    asked = [data.classes.index(label_of_canary(number)) for number in range(canaries) for _ in range(plan.draws)]
    request = SampleRequest(range(plan.seed, plan.seed + len(asked)), SIZE_PX, labels=asked, num_steps=SAMPLING_STEPS)
    with torch.no_grad():
        drawn = drive_to_end(method_for(system, data.examples).pipeline(parts).sample(request))
    return drawn.reshape(canaries, plan.draws, *drawn.shape[1:]), count


def run_canaries(
    drawings: TrainingDrawings, clip: CLIP, plan: CanaryPlan, progress: Progress = lambda what, done, of: None
) -> CanaryResult:
    """Plant canaries among drawings, train before and after deduplication, and measure what was remembered.

    Args:
        drawings: pictures of things, as a bundle keeps them.
        clip: searches for copies.
        plan: what is planted.
        progress: called with (what, done, of).
    """
    count = len(plan.repeats)
    patterns = make_patterns(count + plan.decoys, plan.seed)
    small = enlarge(patterns, SIZE_PX)
    with tempfile.TemporaryDirectory(prefix="sumi-canaries-") as scratch:
        planted = plant(Path(scratch) / "before", patterns[:count], drawings, plan)
        cleaned, names = deduplicate(planted, Path(scratch) / "after", clip, progress)
        models = []
        for done, folder in enumerate((planted, cleaned)):
            progress("training models", done, 2)
            models.append(learn_and_draw(folder, Path(scratch) / f"run-{done}", plan, count))
            progress("training models", done + 1, 2)
    ranks = torch.stack([rank_canaries(drawn, small[:count], small[count:]) for drawn, _ in models])
    left = tuple(sum(name.startswith(f"canary-{number:02}-") for name in names) for number in range(count))
    files = models[0][1], models[1][1]
    return CanaryResult(plan, ranks, files, left, small[:count], torch.stack([drawn for drawn, _ in models]))


def shown_pictures(result: CanaryResult) -> tuple[Tensor, list[Mapping[str, Any]]]:
    """Return each canary with its first picture before and after, (3 C, 4, S, S), and what each is."""
    rows: list[Mapping[str, Any]] = []
    pictures: Sequence[Tensor] = []
    for number, planted in enumerate(result.plan.repeats):
        pictures = [*pictures, result.canaries[number], *result.drawn[:, number, 0]]
        for what in ("planted", "before", "after"):
            name = f"{label_of_canary(number)}, planted {planted} times: {what}"
            rows.append({"prompt": name, "seed": result.plan.seed + number * result.plan.draws})
    return torch.stack(list(pictures)), rows
