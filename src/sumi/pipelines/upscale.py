"""A picture four times as large, by one of the model's upsamplers alone.

An upsampler draws a large picture told the small one (unCLIP, section 2.1). Being convolutional it does so at any
size: the picture keeps its shape, and one that it drew can be given to it again (64 -> 256 -> 1024 pixels). Of two
upsamplers that one is taken which was taught on pictures as large as this one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from sumi.errors import SumiError
from sumi.imaging.pixels import from_image, premultiply, to_image, to_uint8
from sumi.pipelines.checks import parse_background
from sumi.pipelines.source import Source
from sumi.pipelines.stage import Stage
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Upscale
from sumi.pipelines.unclip import UnCLIPPipeline, drop_opaque_alpha, picture, picture_seeds

__all__ = ["upscale"]

LARGEST_PX = 256
MULTIPLE_PX = 8
"""Sides are padded to a multiple of this, so that every level of a U-Net halves evenly."""


def upscale(pipeline: UnCLIPPipeline, task: Upscale, sources: Sequence[Source]) -> Work[None]:
    """Check that there is an upsampler and the picture is small enough, then draw it large."""
    (source,) = sources
    if not pipeline.upsamplers:
        raise SumiError("upscale needs a model with an upsampler, and this one has none")
    if max(source.size) > LARGEST_PX:
        found = "{}x{}".format(*source.size)
        raise SumiError(f"upscale takes pictures of up to {LARGEST_PX} pixels along a side, and this one has {found}")
    taught_px = pipeline.up_to(max(source.size)).sizes[-1]
    number = min(pipeline.sizes.index(taught_px), len(pipeline.upsamplers) - 1)
    factor = pipeline.sizes[number + 1] // pipeline.sizes[number]
    stage = pipeline.upsamplers[number].with_settings(steps=task.steps)
    pipeline, task = pipeline.settle(task)
    return _upscale(pipeline, task, source, stage, factor)


@torch.no_grad()
def _upscale(pipeline: UnCLIPPipeline, task: Upscale, source: Source, stage: Stage, factor: int) -> Work[None]:
    started = time.perf_counter()
    (width, height), small = source.size, premultiply(source.image)
    padded = F.pad(small[None], (0, -width % MULTIPLE_PX, 0, -height % MULTIPLE_PX), mode="replicate")
    shape = (stage.shape[0], *(factor * side for side in padded.shape[2:]))
    seeds = picture_seeds(task, 1)
    levels = to_uint8(padded)
    wide = replace(pipeline, upsamplers=(replace(stage, shape=shape),))
    (large,) = yield from wide.enlarge(list(levels), seeds)
    image = to_image(large[:, : factor * height, : factor * width], parse_background(task.background))
    before, after = source.levels(pipeline.size_px), from_image(image, pipeline.size_px)
    score = pipeline.rank(after[None], pipeline.embed(before[None]))
    (recipe,) = pipeline.recipes(task, seeds, score, [source.to_record()])
    recipe = replace(recipe, stages={stage.name: stage.settings})
    yield picture(
        drop_opaque_alpha(image) if task.background == "auto" else image, recipe, time.perf_counter() - started
    )
