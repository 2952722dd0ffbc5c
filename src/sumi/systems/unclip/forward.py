"""unCLIP's forward pass: from words to pictures in three draws, each told what the one before it drew.

    P(x | y) = P(x | z_i, y) P(z_i | y)                                     y: the caption, z_i: CLIP's image embedding

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125, section 2.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from sumi.pipelines.events import Sample
from sumi.pipelines.layered import arrange_layers
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.request import Request
from sumi.pipelines.source import Source
from sumi.pipelines.steps import Work
from sumi.pipelines.unclip import UnCLIPPipeline, UnCLIPSteps, finish_samples, picture_seeds

__all__ = ["forward", "generate"]


@torch.no_grad()
def forward(
    unclip: UnCLIPSteps, prompts: Sequence[str], seeds: Sequence[int], keep: int | None = None, among: int = 1
) -> Work[None]:
    """Draw a picture for each prompt and its seed; yield them large, as samples.

    Args:
        unclip: the trained networks, and how they are run (guidance, sampler, steps).
        prompts: the captions y.
        seeds: one for each prompt.
        keep: how many to draw large, those nearest to their prompt first; by default all, in their order.
        among: of so many in a row only the one nearest to its prompt is drawn large.
    """
    # CLIP's text tower: one embedding z_t for each caption, and a feature for each of its tokens.
    text = unclip.encode(prompts)

    # The prior, section 2.2: z_i ~ P(z_i | y). Of two draws the one with the larger z_i . z_t stays.
    z_i = yield from unclip.sample_prior(text, seeds)

    # The decoder, section 2.1: x ~ P(x | z_i, y), small, with classifier-free guidance.
    small = yield from unclip.sample_decoder(text, z_i, seeds)

    # CLIP's image tower ranks what was drawn by its cosine to z_t.
    scores = yield from unclip.score(small, text.z_t)
    samples = [Sample(seed, x, score) for seed, x, score in zip(seeds, small, scores, strict=True)]
    if among > 1:
        rows = [samples[first : first + among] for first in range(0, len(samples), among)]
        samples = [max(row, key=lambda sample: sample.score) for row in rows]
    if keep is not None:
        samples = sorted(samples, key=lambda sample: -sample.score)[:keep]

    # The upsamplers, section 2.1: diffusion models told the smaller picture alone, unguided.
    yield from unclip.upsample(samples)


def generate(pipeline: UnCLIPPipeline, request: Request, sources: Sequence[Source] = ()) -> Work[None]:
    """Check a request against the model (SumiError), then draw it, in layers where it asks for several things."""
    pipeline, request = pipeline.settle(request)
    return _generate(pipeline, request)


@torch.no_grad()
def _generate(pipeline: UnCLIPPipeline, request: Request) -> Work[None]:
    started = time.perf_counter()
    seeds = picture_seeds(request, request.candidates(pipeline.best_of))
    among = 1 if request.best_of is not None else len(seeds) // request.n
    prompts = [request.prompt] * len(seeds)
    keep = None if request.best_of is None else request.n

    def recipe_of(sample: Sample) -> Recipe:
        return pipeline.recipes(request, [sample.seed], [sample.score])[0]

    work = forward(arrange_layers(pipeline, prompts, seeds), prompts, seeds, keep, among)
    yield from finish_samples(work, recipe_of, request.n, started)
