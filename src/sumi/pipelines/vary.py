"""Variations: another picture of what this one shows.

    x_1 -> x_0 under z_i by DDIM, renewing a share eta of its noise at every step

unCLIP, section 3.1: with eta = 0 the picture comes back, and a larger eta keeps less of it beside z_i. At eta = 1
nothing of x_1 is left, so the picture is not inverted: fresh noise and the model's own sampler do the same in less
time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from sumi.diffusion import DDIMSampler
from sumi.pipelines.invert import detailed, inverted, model_levels
from sumi.pipelines.source import Source
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Vary
from sumi.pipelines.unclip import UnCLIPPipeline, picture_seeds

__all__ = ["vary"]


def vary(pipeline: UnCLIPPipeline, task: Vary, sources: Sequence[Source]) -> Work[None]:
    """Check the task, then draw n variations of the picture."""
    pipeline, task = pipeline.settle(task)
    return _vary(pipeline, task, sources)


@torch.no_grad()
def _vary(pipeline: UnCLIPPipeline, task: Vary, sources: Sequence[Source]) -> Work[None]:
    started, seeds = time.perf_counter(), picture_seeds(task, task.n)
    levels = model_levels(pipeline, sources)
    cond = pipeline.image_cond(z_i := pipeline.embed(levels))
    x = None
    if task.eta < 1:
        x = (yield from inverted(pipeline, levels, cond)).repeat_interleave(task.n, dim=0)
        renewing = replace(pipeline.decoder, sampler=DDIMSampler(pipeline.decoder.schedule, task.eta))
        pipeline = detailed(replace(pipeline, decoder=renewing), levels)
    small = yield from pipeline.decode(cond.repeat(task.n), seeds, x=x)
    yield from pipeline.finish(task, sources, small, z_i, started)
