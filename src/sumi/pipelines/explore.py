"""What each further part of an embedding says: a picture drawn from the first of its principal components, then more.

    z_k = mean + sum_{j <= k} <z_i - mean, axis_j> axis_j,    x_1 one and the same

unCLIP, section 5 and figure 7: the first components say what kind of thing it is, and later ones which. The last
picture is drawn from the whole of z_i, and is one of its variations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.generate import Batch, Generate
from sumi.pipelines.invert import seen
from sumi.pipelines.layered_image import as_single_layers
from sumi.pipelines.source import Source
from sumi.pipelines.stage import initial_noise, run
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Explore


def explore(pipeline: Generate, task: Explore, sources: Sequence[Source]) -> Work[None]:
    """Check that the model knows its principal axes, then draw the picture from more and more of them."""
    if pipeline.axes is None:
        raise SumiError("explore needs a model that keeps the principal axes of its embeddings, and this one has none")
    counts = pipeline.axes.ladder if task.dims is None else (task.dims,)
    pipeline.axes.check(counts[0])
    pipeline, task = pipeline.settle(task)
    return _explore(pipeline, task, sources, counts)


@torch.no_grad()
def _explore(pipeline: Generate, task: Explore, sources: Sequence[Source], counts: Sequence[int]) -> Work[None]:
    started = time.perf_counter()
    z_i = pipeline.embed(seen(pipeline, sources))
    assert task.seed is not None and pipeline.axes is not None
    aims = torch.cat([pipeline.axes.nearest(z_i, count) for count in counts])
    start = initial_noise(pipeline.decoder, [task.seed])

    def decode(batch: Batch) -> Work[Tensor]:
        x = start.repeat_interleave(len(batch.seeds), dim=0)
        told = pipeline.shown(aims[batch.rows])
        return run(pipeline.decoder, told, batch.seeds, chunk=batch.number, chunks=batch.of, x=x)

    seeds = [task.seed] * len(counts)
    low = yield from pipeline.draw(seeds, decode)
    kept = [source.kept(pipeline.size_px) for source in sources]
    recipes = [
        replace(recipe, options={"dims": count})
        for count, recipe in zip(
            counts, pipeline.recipes(task, seeds, pipeline.rank(torch.stack(low), z_i), kept), strict=True
        )
    ]
    yield from replace(pipeline, batch=1).finish(
        as_single_layers(low), recipes, started
    )  # alone, each gets the same numbers
