"""Traces: the denoising of a picture, step by step, from noise to result.

    x_1 -> x_t -> ... -> x_0,    and at every t the estimate E[x | x_t] that the step follows

A pipeline asks for its steps (`sumi.pipelines.steps`), so whoever drives it can record them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from sumi.diffusion import Step
from sumi.imaging.pixels import to_image
from sumi.pipelines.artist import Artist
from sumi.pipelines.events import Picture, Progress, itself
from sumi.pipelines.picturelike import Picturelike
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.steps import StepRequest, drive, run_alone

__all__ = ["TraceStep", "trace_picture"]


@dataclass(frozen=True)
class TraceStep:
    """One step of a stage that draws pictures, before it was taken.

    step, of: counted from 1. t: the time in [0, 1], 1 all noise. noisy: x_t, as the stage's pictures are seen. mean:
    the clean picture as it was estimated from that.
    """

    __repr__ = short_repr

    stage: str
    step: int
    of: int
    t: float
    noisy: Image.Image
    mean: Image.Image


def trace_picture(artist: Artist, recipe: Recipe, image: Picturelike | None = None) -> Iterator[TraceStep | Picture]:
    """Draw a picture again from its recipe: each step as it is taken, then the picture.

    image: as `Artist.replay` takes it. Raises SumiError where the recipe cannot be drawn by this model.
    """
    asked: list[StepRequest] = []

    def take(request: StepRequest) -> Step[Any]:
        asked[:] = [request]
        return run_alone(request)

    for event in drive(artist.work_again(recipe, image), take):
        if isinstance(event, Picture):
            yield event
            continue
        if not asked:
            continue
        rows = asked[0].rows
        noisy, mean = (first_image(artist, replace(event, mean=x)) for x in (rows.x, event.mean))
        if noisy is not None and mean is not None:
            yield TraceStep(event.stage, event.step, event.of, float(rows.t[0]), noisy, mean)


def first_image(artist: Artist, progress: Progress) -> Image.Image | None:
    """The first row of what a step says, as an image; None where it is no picture."""
    levels = artist.preview(replace(progress, mean=progress.mean[:1], shown_as=itself))
    return None if levels is None else to_image(levels[0])
