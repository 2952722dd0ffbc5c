"""A prompt drawn over a picture: noise hides its details, and the model finds others.

    x_t = alpha(t) x + sigma(t) eps    at t = strength, and from there to 0 under the prompt

SDEdit: Meng et al. 2022, arXiv 2108.01073, section 3.2. What is larger than the noise (colours, places) stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sumi.diffusion import normal
from sumi.pipelines.generate import Batch, Generate, conditioning_prompt, picture_seeds
from sumi.pipelines.invert import detailed, latents, seen
from sumi.pipelines.layered_image import as_single_layers
from sumi.pipelines.source import Source
from sumi.pipelines.stage import Stage, seeded_generators
from sumi.pipelines.steps import Work
from sumi.pipelines.tasks import Img2img


def img2img(pipeline: Generate, task: Img2img, sources: Sequence[Source]) -> Work[None]:
    """Check the task, then draw the prompt n times over the picture."""
    pipeline, task = pipeline.settle(task)
    return _img2img(pipeline, task, sources)


@torch.no_grad()
def _img2img(pipeline: Generate, task: Img2img, sources: Sequence[Source]) -> Work[None]:
    started, seeds = time.perf_counter(), picture_seeds(task, task.n)
    text, levels = pipeline.read([conditioning_prompt(task.prompt, task.background)]), seen(pipeline, sources)
    x = latents(pipeline, levels)
    begun = detailed(replace(pipeline, decoder=start_latents(pipeline.decoder, task.strength)), levels)

    def decode(batch: Batch) -> Work[Tensor]:
        clean = x.repeat_interleave(len(batch.seeds), dim=0)
        level = begun.decoder.schedule(torch.full((len(clean),), task.strength, dtype=torch.float32))
        eps = normal(clean, seeded_generators(batch.seeds, "img2img"))
        return begun.decode(task, text, batch, x=level.add_noise(clean, eps))

    low = yield from begun.draw(seeds, decode)
    kept = [source.kept(pipeline.size_px) for source in sources]
    recipes = pipeline.recipes(task, seeds, pipeline.rank(torch.stack(low), text.z_t), kept)
    yield from pipeline.finish(as_single_layers(low), recipes, started)


def start_latents(stage: Stage, t: float) -> Stage:
    """Return a stage that walks only from t down, in as many fewer steps."""
    steps = max(1, round(t * stage.settings.steps))
    return replace(stage, settings=replace(stage.settings, steps=steps, start=t))
