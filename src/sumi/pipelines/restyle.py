"""Text diffs: a picture moved in the direction from one text to another.

    z_d = (z_after - z_before) / |z_after - z_before|,    z = slerp(z_i, z_d, theta),    x_1 of the picture itself

unCLIP, section 3.3, where theta goes up to between 0.25 and 0.5; here it is FURTHEST times the amount. The decoder is
conditioned on z and on no word. Guidance leads away from z_i, so at amount 0 the picture comes back at any strength.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.invert import detailed, inverted, model_levels, slerp
from sumi.pipelines.source import Source
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import FURTHEST, Restyle
from sumi.pipelines.unclip import UnCLIPPipeline, picture_seeds

__all__ = ["restyle"]

NO_DIFFERENCE = 1e-5


def restyle(pipeline: UnCLIPPipeline, task: Restyle, sources: Sequence[Source]) -> Work[None]:
    """Check that the texts differ to the model, then draw the picture as far along as asked."""
    pipeline, task = pipeline.settle(task)
    with torch.no_grad():
        before, after = pipeline.read(task.texts).z_t
    if float((after - before).norm()) < NO_DIFFERENCE:
        raise SumiError("to this model the two texts say the same, so there is no direction between them")
    return _restyle(pipeline, task, sources, F.normalize(after - before, dim=0)[None])


@torch.no_grad()
def _restyle(pipeline: UnCLIPPipeline, task: Restyle, sources: Sequence[Source], z_d: Tensor) -> Work[None]:
    started = time.perf_counter()
    levels = model_levels(pipeline, sources)
    z_i = pipeline.embed(levels)
    aim, before = slerp(z_i, z_d, FURTHEST * task.amount), pipeline.image_cond(z_i)
    x = yield from inverted(pipeline, levels, before)
    drawing = detailed(pipeline, levels)
    small = yield from drawing.decode(pipeline.image_cond(aim), picture_seeds(task, 1), before, x=x)
    yield from pipeline.finish(task, sources, small, aim, started)
