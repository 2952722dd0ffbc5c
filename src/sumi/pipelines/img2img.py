"""A prompt drawn over a picture: noise hides its details, and the model finds others.

    x_t = alpha(t) x + sigma(t) eps    at t = strength, and from there to 0 under the prompt

SDEdit: Meng et al. 2022, arXiv 2108.01073, section 3.2. What is larger than the noise (colours, places) stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from sumi.diffusion import normal
from sumi.pipelines.invert import detailed, latents, model_levels
from sumi.pipelines.source import Source
from sumi.pipelines.stage import Stage, seeded_generators
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Img2img
from sumi.pipelines.unclip import UnCLIPPipeline, picture_seeds

__all__ = ["img2img", "start_latents"]


def img2img(pipeline: UnCLIPPipeline, task: Img2img, sources: Sequence[Source]) -> Work[None]:
    """Check the task, then draw the prompt n times over the picture."""
    pipeline, task = pipeline.settle(task)
    return _img2img(pipeline, task, sources)


@torch.no_grad()
def _img2img(pipeline: UnCLIPPipeline, task: Img2img, sources: Sequence[Source]) -> Work[None]:
    started, seeds = time.perf_counter(), picture_seeds(task, task.n)
    levels = model_levels(pipeline, sources)
    clean = latents(pipeline, levels).repeat_interleave(len(seeds), dim=0)
    drawing = detailed(replace(pipeline, decoder=start_latents(pipeline.decoder, task.strength)), levels)
    level = drawing.decoder.schedule(torch.full((len(clean),), task.strength, dtype=torch.float32))
    x = level.add_noise(clean, normal(clean, seeded_generators(seeds, "img2img")))
    text = pipeline.encode([task.prompt] * len(seeds))
    z_i = yield from drawing.sample_prior(text, seeds)
    small = yield from drawing.sample_decoder(text, z_i, seeds, x=x)
    yield from pipeline.finish(task, sources, small, text.z_t, started)


def start_latents(stage: Stage, t: float) -> Stage:
    """Return a stage that walks only from t down, in as many fewer steps."""
    steps = max(1, round(t * stage.settings.steps))
    return replace(stage, settings=replace(stage.settings, steps=steps, start=t))
