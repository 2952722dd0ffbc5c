"""Principal components: a picture drawn from the first components of its embedding, then from more of them.

    z_k = mean + sum_{j <= k} <z_i - mean, axis_j> axis_j,    x_1 one and the same

unCLIP, section 5 and figure 7: the first components hold the kind of thing, and later ones the details. The last
picture is drawn from all of z_i, and is one of its variations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from sumi.errors import SumiError
from sumi.pipelines.invert import model_levels
from sumi.pipelines.source import Source
from sumi.pipelines.stage import initial_noise
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Explore
from sumi.pipelines.unclip import UnCLIPPipeline

__all__ = ["explore"]


def explore(pipeline: UnCLIPPipeline, task: Explore, sources: Sequence[Source]) -> Work[None]:
    """Check that the model knows its principal axes, then draw the picture from more and more of them."""
    if pipeline.axes is None:
        raise SumiError("explore needs a model that keeps the principal axes of its embeddings, and this one has none")
    counts = pipeline.axes.ladder if task.dims is None else (task.dims,)
    pipeline.axes.check(counts[0])
    pipeline, task = pipeline.settle(task)
    return _explore(pipeline, task, sources, counts)


@torch.no_grad()
def _explore(pipeline: UnCLIPPipeline, task: Explore, sources: Sequence[Source], counts: Sequence[int]) -> Work[None]:
    started = time.perf_counter()
    z_i = pipeline.embed(model_levels(pipeline, sources))
    assert task.seed is not None and pipeline.axes is not None
    aims = torch.cat([pipeline.axes.project(z_i, count) for count in counts])
    x = initial_noise(pipeline.decoder, [task.seed]).repeat_interleave(len(counts), dim=0)
    small = yield from pipeline.decode(pipeline.image_cond(aims), [task.seed] * len(counts), x=x)
    yield from pipeline.finish(task, sources, small, z_i, started, [{"dims": count} for count in counts])
