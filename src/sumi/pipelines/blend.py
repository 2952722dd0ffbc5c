"""Interpolation between two pictures, through their CLIP embeddings.

    z = slerp(z_a, z_b, amount),    x_1 = slerp(x_a, x_b, amount)

unCLIP, section 3.2. With the inverted noise of the pictures both ends are the pictures; with one noise for all only the
content changes, and each end is a variation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.invert import detailed, inverted, model_levels, slerp
from sumi.pipelines.source import Source
from sumi.pipelines.stage import initial_noise
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Blend
from sumi.pipelines.unclip import UnCLIPPipeline

__all__ = ["blend", "interpolate"]


def blend(pipeline: UnCLIPPipeline, task: Blend, sources: Sequence[Source]) -> Work[None]:
    """Check that the pictures are of one size, then draw every frame in order."""
    sizes = ["{}x{}".format(*source.size) for source in sources]
    if len(set(sizes)) > 1:
        raise SumiError(f"blend needs two pictures of one size, not {' and '.join(sizes)}")
    pipeline, task = pipeline.settle(task)
    return _blend(pipeline, task, sources)


@torch.no_grad()
def _blend(pipeline: UnCLIPPipeline, task: Blend, sources: Sequence[Source]) -> Work[None]:
    started = time.perf_counter()
    levels = model_levels(pipeline, sources)
    z_i = pipeline.embed(levels)
    assert task.seed is not None
    if task.noise == "inverted":
        ends = yield from inverted(pipeline, levels, pipeline.image_cond(z_i))
    else:
        ends = initial_noise(pipeline.decoder, [task.seed]).repeat_interleave(2, dim=0)
    amounts = torch.tensor(task.amounts, dtype=torch.float32)
    aims, x = interpolate(z_i, amounts), interpolate(ends, amounts)
    drawing = detailed(pipeline, levels) if task.noise == "inverted" else pipeline
    small = yield from drawing.decode(pipeline.image_cond(aims), [task.seed] * len(amounts), x=x)
    yield from pipeline.finish(task, sources, small, aims, started, [{"amount": amount} for amount in task.amounts])


def interpolate(ends: Tensor, amounts: Tensor) -> Tensor:
    """Return the points (N, ...) so far along the arc between two, (2, ...)."""
    first, second = (end.expand(len(amounts), *end.shape) for end in ends)
    return slerp(first, second, amounts)
