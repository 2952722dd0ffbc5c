"""A picture four times as large, by the model's upsampler alone.

The upsampler draws a large picture told the small one (unCLIP, section 2.1). Being convolutional it does so at any
size: the picture keeps its shape, and one that it drew can be given to it again (64 -> 256 -> 1024 pixels).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from sumi.errors import SumiError
from sumi.pipelines.events import Event
from sumi.pipelines.generate import Generate, batches, opaque, picture, seeds_of
from sumi.pipelines.pixels import from_image, premultiplied, to_image
from sumi.pipelines.request import parse_background
from sumi.pipelines.source import Source
from sumi.pipelines.tasks import Upscale

LARGEST_PX = 256
MULTIPLE_PX = 8
"""Sides are padded to a multiple of this, so that every level of a U-Net halves evenly."""


def upscale(pipeline: Generate, task: Upscale, sources: Sequence[Source]) -> Iterator[Event]:
    """Check that there is an upsampler and the picture is small enough, then draw it large."""
    (source,) = sources
    if pipeline.upsampler is None:
        raise SumiError("upscale needs a model with an upsampler, and this one has none")
    if max(source.size) > LARGEST_PX:
        found = "{}x{}".format(*source.size)
        raise SumiError(f"upscale takes pictures of up to {LARGEST_PX} pixels along a side, and this one has {found}")
    steps, (pipeline, task) = task.steps, pipeline.settle(task)
    assert pipeline.upsampler is not None
    return _upscale(replace(pipeline, upsampler=pipeline.upsampler.with_settings(steps=steps)), task, source)


@torch.no_grad()
def _upscale(pipeline: Generate, task: Upscale, source: Source) -> Generator[Event, None, None]:
    started, stage = time.perf_counter(), pipeline.upsampler
    assert stage is not None
    factor = stage.shape[-1] // pipeline.size_px
    (width, height), small = source.size, premultiplied(source.image)
    padded = F.pad(small[None], (0, -width % MULTIPLE_PX, 0, -height % MULTIPLE_PX), mode="replicate")
    shape = (stage.shape[0], *(factor * side for side in padded.shape[2:]))
    (batch,) = batches(seeds_of(task, 1), 1)
    levels = padded.mul(255).round().to(torch.uint8)
    wide = replace(pipeline, upsampler=replace(stage, shape=shape))
    (large,) = yield from wide.enlarge(list(levels), batch)
    image = to_image(large[:, : factor * height, : factor * width], parse_background(task.background))
    before, after = source.levels(pipeline.size_px), from_image(image, pipeline.size_px)
    score = pipeline.rank(after[None], pipeline.embed(before[None]))
    (recipe,) = pipeline.recipes(task, batch.seeds, score, [source.kept()])
    recipe = replace(recipe, stages={stage.name: stage.settings})
    yield picture(opaque(image) if task.background == "auto" else image, recipe, time.perf_counter() - started)
