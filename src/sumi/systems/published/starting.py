"""Where a stage starts, and what it is told of the answer: the part of every task that is not its condition.

    generate         x_1 = z                                              from the seed
    img2img          x_t = alpha(t) x + sigma(t) z                        SDEdit, Meng et al. 2022, arXiv 2108.01073
    edit             mean = (1 - keep) mean + keep x                      DDNM and RePaint (`sumi.pipelines.edit`)
    vary, eta < 1    x_1 = inversion of x, then DDIM with eta             unCLIP, section 3.1, arXiv 2204.06125
    blend, restyle   x_1 = slerp of the inversions                        unCLIP, sections 3.2 and 3.3

The stage draws pixels or latents; `encode` brings a picture there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion import DDIMSampler, normal
from sumi.nn import Cond
from sumi.pipelines import Blend, Edit, Img2img, Restyle, Stage, Task, Vary
from sumi.pipelines.blend import interpolate
from sumi.pipelines.edit import Resampled, keeping
from sumi.pipelines.invert import inverted_noise, slerp
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import FURTHEST
from sumi.systems.published.pipeline import PictureBatch
from sumi.systems.published.scheduler import PublishedScheduler

__all__ = ["aim_embeddings", "needs_inversion", "redraw_mask", "start_stage"]

LEAST_ALPHA: Final = 0.05


def needs_inversion(task: Task) -> bool:
    """Whether a task starts from the noise of its own pictures."""
    return isinstance(task, Restyle) or getattr(task, "noise", "") == "inverted" or getattr(task, "eta", 1.0) < 1


def start_stage(
    stage: Stage, scheduler: PublishedScheduler, task: Task, batch: PictureBatch,
    encode: Callable[[Tensor], Tensor], source_cond: Cond | None, rngs: Sequence[torch.Generator],
) -> Work[tuple[Stage, Tensor]]:  # fmt: skip
    """Return a stage as a task has it run, and where it starts, (B, *shape), at the first of its times.

    Args:
        stage: with the settings of the task.
        scheduler: how the stage is sampled.
        task: what is drawn.
        batch: its seeds and pictures.
        encode: pictures (N, 4, S, S) to the space that the stage draws in.
        source_cond: the condition under which the pictures themselves are drawn, where they are inverted.
        rngs: a generator for each picture.
    """
    noise = normal(torch.empty(len(batch), *stage.shape), rngs)
    times = stage.times(stage.settings.steps)
    if needs_inversion(task):
        assert source_cond is not None
        stage = with_signal(stage, times)
        ends = yield from inverted_noise(stage, encode(batch.sources), source_cond)
        stage = replace(stage, sampler=DDIMSampler(stage.schedule, task.eta if isinstance(task, Vary) else 0.0))
        if isinstance(task, Blend):
            return stage, interpolate(ends, torch.tensor(batch.amounts, dtype=torch.float32))
        return stage, ends.repeat_interleave(len(batch), dim=0)
    if isinstance(task, Img2img):
        times = times[len(times) - 1 - max(1, int(stage.settings.steps * task.strength)) :]
        level = stage.schedule(times[:1].expand(len(batch)))
        x = level.add_noise(encode(batch.sources).expand(len(batch), -1, -1, -1), noise)
        return replace(stage, times=lambda num_steps: times), x
    if isinstance(task, Edit):
        known, redraw = encode(batch.sources), redraw_mask(batch, stage.shape[1:])
        sampler = stage.sampler
        assert sampler is not None
        stage = replace(
            stage, inpainting=keeping(known, redraw), sampler=Resampled(sampler, stage.schedule, task.rounds)
        )
    return stage, scheduler.initial_x(noise, times)


def with_signal(stage: Stage, times: Tensor) -> Stage:
    """Return a stage that walks only from where some signal is left.

    Beyond, an estimate is the small difference of noises divided by nearly 0, which no inversion can follow.
    """
    kept = times[stage.schedule(times).alpha >= LEAST_ALPHA]
    return replace(stage, times=lambda num_steps: kept) if len(kept) > 1 else stage


def redraw_mask(batch: PictureBatch, shape: Sequence[int]) -> Tensor:
    """Return where to draw in the space of a stage, (1, h, w): 1 wherever any pixel of it is to be drawn."""
    assert batch.redraw is not None
    return F.adaptive_max_pool2d(batch.redraw, tuple(shape))


def aim_embeddings(task: Task, batch: PictureBatch, z_i: Tensor, z_d: Tensor | None = None) -> Tensor:
    """Return the image embedding that each picture is drawn from, (B, D).

    Args:
        task: what is drawn.
        batch: its seeds, and the amounts of a blend.
        z_i: the embeddings of its pictures, (N, D).
        z_d: of a text diff, the direction between the two texts, (1, D) of unit length.
    """
    if isinstance(task, Blend):
        return interpolate(z_i, torch.tensor(batch.amounts, dtype=torch.float32))
    if isinstance(task, Restyle):
        assert z_d is not None
        z_i = slerp(z_i, z_d * z_i.norm(dim=-1, keepdim=True), FURTHEST * task.amount)
    return z_i.repeat_interleave(len(batch), dim=0)
