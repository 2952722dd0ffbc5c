"""Variations: another picture of what this one shows.

    x_1 -> x_0 under z_i by DDIM, renewing a share eta of its noise at every step

unCLIP, section 3.1: with eta = 0 the picture comes back, and the larger eta is, the more only z_i is kept. At eta = 1
nothing of x_1 is left, so it is not looked for: fresh noise and the model's own sampler do the same, sooner.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from sumi.diffusion import DDIMSampler
from sumi.pipelines.generate import Batch, Generate, picture_seeds
from sumi.pipelines.invert import detailed, inverted, seen
from sumi.pipelines.layered_image import as_single_layers
from sumi.pipelines.source import Source
from sumi.pipelines.stage import run
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Vary


def vary(pipeline: Generate, task: Vary, sources: Sequence[Source]) -> Work[None]:
    """Check the task, then draw n variations of the picture."""
    pipeline, task = pipeline.settle(task)
    return _vary(pipeline, task, sources)


@torch.no_grad()
def _vary(pipeline: Generate, task: Vary, sources: Sequence[Source]) -> Work[None]:
    started, seeds = time.perf_counter(), picture_seeds(task, task.n)
    levels = seen(pipeline, sources)
    cond = pipeline.shown(z_i := pipeline.embed(levels))
    own = (yield from inverted(pipeline, levels, cond)) if task.eta < 1 else None
    sampler = None if own is None else DDIMSampler(pipeline.decoder.schedule, task.eta)

    def decode(batch: Batch) -> Work[Tensor]:
        count = len(batch.seeds)
        x = None if own is None else own.repeat_interleave(count, dim=0)
        told = cond.repeat(count)
        return run(pipeline.decoder, told, batch.seeds, chunk=batch.number, chunks=batch.of, x=x, sampler=sampler)

    low = yield from (pipeline if own is None else detailed(pipeline, levels)).draw(seeds, decode)
    kept = [source.kept(pipeline.size_px) for source in sources]
    recipes = pipeline.recipes(task, seeds, pipeline.rank(torch.stack(low), z_i), kept)
    yield from pipeline.finish(as_single_layers(low), recipes, started)
