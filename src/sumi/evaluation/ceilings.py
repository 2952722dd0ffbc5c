"""The ceilings of a model: how much of a true picture its codec and its upsampler preserve.

    true picture at 256 px, held out -> 64 px -> upsampler                    the sharpest possible result
                                              -> codec, at 64 px              what the latents can hold
                                              -> codec -> upsampler           what a perfect decoder could draw

No decoder can draw better than this. PSNR is measured over white and over black, so that a wrong edge of the
transparency counts like a wrong colour. Training never shows the concepts of these drawings.
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
from sumi.evaluation.exam import resize_for_judge
from sumi.evaluation.grading import grade_pictures
from sumi.evaluation.intervals import Share
from sumi.evaluation.pixel_metrics import psnr
from sumi.evaluation.questions import Question
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import from_levels, over, resize, to_levels
from sumi.judge.network import Judge
from sumi.judge.train_judge import JUDGE_SEED
from sumi.pipelines import UnCLIPPipeline
from sumi.pipelines.steps import drive_to_end

__all__ = ["Ceiling", "measure_ceilings"]

Transform = Callable[[Tensor], Tensor]
"""Premultiplied uint8 pictures (B, 4, S, S) to the same pictures after a codec or an upsampler, S or larger."""

BATCH = 8
SHEET = 8
CELL_PX = 192


@dataclass(frozen=True)
class Ceiling:
    """How much of the true pictures one transform preserves.

    Args:
        name: of the transform.
        size_px: the side of its results.
        white_db, black_db: PSNR of each picture, composited over white and over black.
        named: the true pictures that the judge names correctly after the transform.
        truth: those that it names correctly without it.
    """

    name: str
    size_px: int
    white_db: tuple[float, ...]
    black_db: tuple[float, ...]
    named: Share
    truth: Share

    def to_json(self) -> dict[str, Any]:
        """Return the medians with their quartiles, and the shares that the judge names, as JSON values."""
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
    """Return the PSNR in decibels of each pair of pictures, composited over a gray.

    Args:
        one: premultiplied uint8 (B, 4, S, S).
        other: the same.
        ground: the gray, 0 to 1.
    """
    gray = torch.full((3, 1, 1), ground)
    return psnr(*(255 * over(levels.float() / 255, gray) for levels in (one, other)))


def transforms(pipeline: UnCLIPPipeline) -> Mapping[str, tuple[int, Transform]]:
    """Return the transforms of a model by name, each with the size of its results in pixels."""
    large_px, small_px = pipeline.sizes[-1], pipeline.size_px
    enlarge, codec = partial(_enlarged, pipeline), partial(_through_codec, pipeline)
    found: dict[str, tuple[int, Transform]] = {
        "bicubic": (large_px, partial(_bicubic, large_px)),
        "codec": (small_px, codec),
    }
    if pipeline.upsamplers:
        found["upsampler"] = large_px, enlarge
        found["codec, upsampler"] = large_px, lambda small: enlarge(codec(small))
    return found


@torch.no_grad()
def _enlarged(pipeline: UnCLIPPipeline, small: Tensor) -> Tensor:
    return torch.stack(drive_to_end(pipeline.enlarge(list(small), range(len(small)))))


@torch.no_grad()
def _through_codec(pipeline: UnCLIPPipeline, small: Tensor) -> Tensor:
    return to_levels(pipeline.decoder.decode(pipeline.decoder.encode(from_levels(small))))


def _bicubic(size_px: int, small: Tensor) -> Tensor:
    return to_levels(resize(from_levels(small), (size_px, size_px)))


def held_out_drawings(scenes: Scenes, n: int) -> list[Scene]:
    """Return n scenes of one held-out thing each; no drawing appears twice."""
    source, chosen, seen = scenes.held_out("concept", JUDGE_SEED + 3), [], set()
    for number in range(20 * n):
        scene = source.scene(number)
        (thing,) = scene.things
        key = (thing.concept, thing.hand)
        if key not in seen:
            seen.add(key)
            chosen.append(scene)
        if len(chosen) == n:
            break
    return chosen


def measure_ceilings(
    pipeline: UnCLIPPipeline,
    judge: Judge,
    drawings: Scenes,
    known: Scenes,
    n: int = 48,
    n_judged: int = 200,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[Ceiling], Image.Image]:
    """Measure how much of true pictures each transform of a model preserves.

    Args:
        pipeline: the model.
        judge: names the pictures.
        drawings: scenes of every drawing; PSNR is measured on those of held-out concepts.
        known: scenes of concepts that the judge knows, from another seed than its training.
        n: how many pictures to measure PSNR on.
        n_judged: how many pictures the judge names.
        progress: called with (transforms done, all transforms).

    Returns:
        A `Ceiling` for each transform, and a sheet: a row of true pictures, then a row for each transform.
    """
    large_px, small_px = pipeline.sizes[-1], pipeline.size_px
    scenes = held_out_drawings(drawings, n)
    large, small = (drawings.render(scenes, size_px) for size_px in (large_px, small_px))
    singles = Scenes(known.atlas, known.vocabulary, Mix.singles().only("single"), JUDGE_SEED + 4)
    scenes_asked = [singles.scene(number) for number in range(n_judged)]
    questions = [Question.of_scene("single", scene) for scene in scenes_asked]
    judged = singles.render(scenes_asked, small_px)
    truth = _named(judge, singles.render(scenes_asked, large_px), questions)
    ceilings, rows = [], [large[:SHEET]]
    todo = transforms(pipeline)
    for number, (name, (size_px, transform)) in enumerate(todo.items()):
        left, right = _transform(transform, small), large if size_px == large_px else small
        named = _named(judge, _transform(transform, judged), questions)
        ceilings.append(
            Ceiling(name, size_px, tuple(psnr_over(left, right, 1.0)), tuple(psnr_over(left, right, 0.0)), named, truth)
        )
        rows.append(_bicubic(large_px, left[:SHEET]))
        progress(number + 1, len(todo))
    columns = min(SHEET, len(large))
    captions = [row for name in ("truth", *todo) for row in (name, *[""] * (columns - 1))]
    return ceilings, contact_sheet(torch.cat(rows), captions, columns, CELL_PX)


def _transform(transform: Transform, small: Tensor) -> Tensor:
    return torch.cat([transform(some) for some in torch.split(small, BATCH)])


def _named(judge: Judge, pictures: Tensor, questions: Sequence[Question]) -> Share:
    return Share.of(grade.facts["things"] for grade in grade_pictures(judge, resize_for_judge(pictures), questions))
