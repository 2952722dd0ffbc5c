"""The ceilings of a model: what its codec and its upsampler leave of a true picture, before a decoder draws anything.

    true picture at 256 px, held out -> 64 px -> upsampler                    how sharp the answer can be at all
                                              -> codec, at 64 px              what the latents can hold
                                              -> codec -> upsampler           what the best decoder could draw

No decoder can draw better than this. PSNR = 10 log10(1 / mean squared error), over white and over black, so that a
wrong edge of the transparency counts as a wrong colour does. The drawings are of concepts that training never shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sumi.data.generator import Mix, Scenes
from sumi.data.scene import Scene
from sumi.evaluation.distance import psnr
from sumi.evaluation.exam import at_judged_size
from sumi.evaluation.intervals import Share
from sumi.evaluation.marking import mark
from sumi.evaluation.questions import Question
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import from_levels, over, resize, to_levels
from sumi.judge.network import Judge
from sumi.judge.train_judge import SEED
from sumi.pipelines import Generate
from sumi.pipelines.generate import seed_batches
from sumi.pipelines.steps import drive_to_end

Walk = Callable[[Tensor], Tensor]
"""Small pictures, premultiplied uint8 (B, 4, S, S), to what is left of them, at the same or a larger size."""

BATCH = 8
SHEET = 8
CELL_PX = 192


@dataclass(frozen=True)
class Ceiling:
    """What one path leaves of the true pictures.

    white_db, black_db: PSNR of each picture over white and over black. named: true pictures that the judge names after
    this path; truth: the same pictures without it.
    """

    name: str
    size_px: int
    white_db: tuple[float, ...]
    black_db: tuple[float, ...]
    named: Share
    truth: Share

    def to_json(self) -> dict[str, Any]:
        """Return the medians with their quartiles, and the judge's shares, as JSON values."""
        return {
            "size_px": self.size_px,
            "white_db": quartiles(self.white_db),
            "black_db": quartiles(self.black_db),
            "n": len(self.white_db),
            "named": self.named.to_json(),
            "truth": self.truth.to_json(),
        }

    def line(self) -> str:
        """Return one line for a terminal."""
        (low, white, high), (_, black, _) = quartiles(self.white_db), quartiles(self.black_db)
        decibels = f"white {white:5.1f} dB ({low:.1f} to {high:.1f})  black {black:5.1f} dB"
        return f"{self.name:18} {self.size_px:4} px  {decibels}  named {self.named}"


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile, rounded to hundredths."""
    found = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    low, median, high = (round(float(value), 2) for value in found)
    return low, median, high


def psnr_over(one: Tensor, other: Tensor, ground: float) -> list[float]:
    """Return the PSNR in decibels of each pair of premultiplied uint8 pictures (B, 4, S, S) over a grey of [0, 1]."""
    gray = torch.full((3, 1, 1), ground)
    return psnr(*(255 * over(levels.float() / 255, gray) for levels in (one, other)))


def paths(pipeline: Generate) -> Mapping[str, tuple[int, Walk]]:
    """Return the paths of a model, with the size that each ends at."""
    large_px, small_px = pipeline.sizes[-1], pipeline.size_px
    enlarge, codec = partial(_enlarged, pipeline), partial(_through_codec, pipeline)
    found: dict[str, tuple[int, Walk]] = {
        "bicubic": (large_px, partial(_bicubic, large_px)),
        "codec": (small_px, codec),
    }
    if pipeline.upsamplers:
        found["upsampler"] = large_px, enlarge
        found["codec, upsampler"] = large_px, lambda small: enlarge(codec(small))
    return found


@torch.no_grad()
def _enlarged(pipeline: Generate, small: Tensor) -> Tensor:
    (batch,) = seed_batches(range(len(small)), len(small))
    return torch.stack(drive_to_end(pipeline.enlarge(list(small), batch)))


@torch.no_grad()
def _through_codec(pipeline: Generate, small: Tensor) -> Tensor:
    return to_levels(pipeline.decoder.decode(pipeline.decoder.encode(from_levels(small))))


def _bicubic(size_px: int, small: Tensor) -> Tensor:
    return to_levels(resize(from_levels(small), (size_px, size_px)))


def held_out_drawings(scenes: Scenes, n: int) -> list[Scene]:
    """Return n plain scenes of concepts that training never shows, no drawing twice."""
    source, found, seen = scenes.held_out("concept", SEED + 3), [], set()
    for number in range(20 * n):
        scene = source.scene(number)
        (thing,) = scene.things
        key = (thing.concept, thing.hand)
        if key not in seen:
            seen.add(key)
            found.append(scene)
        if len(found) == n:
            break
    return found


def measure_ceilings(
    pipeline: Generate,
    judge: Judge,
    drawings: Scenes,
    known: Scenes,
    n: int = 48,
    n_judged: int = 200,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[Ceiling], Image.Image]:
    """Return what each path leaves of true pictures, and a sheet: the truth, then each path, one column a drawing.

    drawings: scenes of every drawing there is, of which those of held-out concepts measure decibels. known: scenes of
    what the judge knows, fresh ones, which it names.
    """
    large_px, small_px = pipeline.sizes[-1], pipeline.size_px
    scenes = held_out_drawings(drawings, n)
    large, small = (drawings.render(scenes, size_px) for size_px in (large_px, small_px))
    singles = Scenes(known.atlas, known.vocabulary, Mix.singles().only("single"), SEED + 4)
    asked_scenes = [singles.scene(number) for number in range(n_judged)]
    asked = [Question.of_scene("single", scene) for scene in asked_scenes]
    judged = singles.render(asked_scenes, small_px)
    truth = _named(judge, singles.render(asked_scenes, large_px), asked)
    found, rows = [], [large[:SHEET]]
    todo = paths(pipeline)
    for number, (name, (size_px, walk)) in enumerate(todo.items()):
        left, right = _walked(walk, small), large if size_px == large_px else small
        named = _named(judge, _walked(walk, judged), asked)
        found.append(
            Ceiling(name, size_px, tuple(psnr_over(left, right, 1.0)), tuple(psnr_over(left, right, 0.0)), named, truth)
        )
        rows.append(_bicubic(large_px, left[:SHEET]))
        progress(number + 1, len(todo))
    columns = min(SHEET, len(large))
    captions = [row for name in ("truth", *todo) for row in (name, *[""] * (columns - 1))]
    return found, contact_sheet(torch.cat(rows), captions, columns, CELL_PX)


def _walked(walk: Walk, small: Tensor) -> Tensor:
    return torch.cat([walk(some) for some in torch.split(small, BATCH)])


def _named(judge: Judge, pictures: Tensor, asked: Sequence[Question]) -> Share:
    return Share.of(verdict.facts["things"] for verdict in mark(judge, at_judged_size(pictures), asked))
