"""A stage of a pipeline: a denoiser and how it is run. Prior, decoder, upsampler: all the same.

One loop runs every stage, and it is a generator, so that progress, preview and stopping cost nothing:

    x = yield from run(stage, cond, seeds)

It asks for each step and does not know who takes it (`sumi.pipelines.steps`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sumi.diffusion import SAMPLERS, Denoiser, Sampler, Schedule, normal, pure_noise
from sumi.nn import Cond
from sumi.pipelines.checks import check_choice
from sumi.pipelines.events import Progress
from sumi.pipelines.recipe import Settings
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.steps import Inpainting, StepRequest, StepRows, Work


def identity(x: Tensor) -> Tensor:
    """Return what was given: the decoding of a stage that draws in the space it is asked for."""
    return x


@dataclass(frozen=True)
class Stage:
    """One diffusion model and how it is run.

    schedule: the one that the denoiser was trained on; samplers walk along it. times: steps -> (steps + 1,)
    from 1 down to 0. shape: of one sample. decode: from the space the stage draws in to what it means
    (latents to pixels, standardised embedding to z_i); encode: back. known: a part of the answer, one row for all.
    """

    __repr__ = short_repr

    name: str
    denoiser: Denoiser[Cond]
    schedule: Schedule
    times: Callable[[int], Tensor]
    shape: tuple[int, ...]
    settings: Settings
    decode: Callable[[Tensor], Tensor] = identity
    encode: Callable[[Tensor], Tensor] = identity
    known: Inpainting | None = None

    def with_settings(
        self, sampler: str | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Stage:
        """Return the stage run otherwise; None keeps what is. SumiError for an unknown sampler."""
        check_choice("sampler", sampler or self.settings.sampler, list(SAMPLERS))
        changes = {"sampler": sampler, "steps": steps, "guidance": guidance}
        chosen = {name: value for name, value in changes.items() if value is not None}
        return replace(self, settings=replace(self.settings, **chosen))  # type: ignore[arg-type]

    def rerun(self, settings: Settings) -> Stage:
        """Return the stage run as these settings say; SumiError for an unknown sampler."""
        return replace(self, settings=settings).with_settings()


def run(
    stage: Stage,
    cond: Cond,
    seeds: Sequence[int],
    null: Cond | None = None,
    stream: str | None = None,
    chunk: int = 0,
    chunks: int = 1,
    x: Tensor | None = None,
    sampler: Sampler[Any] | None = None,
    rngs: Sequence[torch.Generator] | None = None,
) -> Work[Tensor]:
    """Draw one sample for each seed, asking for every step and then saying how far it is; returns x (B, *shape).

    null: what guidance leads away from, by default silence. stream: which of a seed's random numbers to
    draw, by default those of the stage's name. chunk, chunks: which batch of how many, so that progress
    counts them all. x: where to start (B, *shape), by default `beginning`. sampler: by default that of the settings.
    rngs: one generator a sample, by default those of the seeds and the stream.
    """
    settings, rngs = stage.settings, rngs or seeded_generators(seeds, stream or stage.name)
    sampler = sampler or SAMPLERS[settings.sampler](stage.schedule)
    if x is None:
        x = initial_x(stage, cond, rngs)
    times = settings.start * stage.times(settings.steps).to(x.device, torch.float32)
    count, state = len(x), sampler.init(x)
    scale, low, high = (
        torch.full((count,), value, dtype=torch.float32) for value in (settings.guidance, *settings.interval)
    )
    if settings.guidance == 1.0:
        null = None
    elif null is None:
        null = cond.null()
    known = None if stage.known is None else Inpainting(*(slot.expand(count, *slot.shape[1:]) for slot in stage.known))
    for done, (t, s) in enumerate(pairwise(times), start=1):
        rows = StepRows(x, t.expand(count), s.expand(count), cond, state, scale, low, high, null, known)
        step = yield StepRequest(stage.name, stage.denoiser, sampler, rows, rngs, last=done + 1 == len(times))
        x, state = step.x, step.state
        yield Progress(stage.name, chunk * settings.steps + done, chunks * settings.steps, step.mean, tuple(seeds))
    return x


def initial_x(stage: Stage, cond: Cond, rngs: Sequence[torch.Generator]) -> Tensor:
    """Return x at the time to walk down from, (B, *shape): noise, or what an upsampler was shown, noised as far.

    The nearer the beginning is to the answer, the less of the way need be walked (Chung et al. 2022,
    Come-Closer-Diffuse-Faster, arXiv 2112.05146, section 3).
    """
    empty = torch.empty(len(rngs), *stage.shape, dtype=torch.float32)
    if stage.settings.start == 1.0 or cond.concat is None:
        return pure_noise(stage.schedule, empty, rngs)
    level = stage.schedule(torch.full((len(rngs),), stage.settings.start, dtype=torch.float32))
    return level.add_noise(cond.concat, normal(empty, rngs))


def initial_noise(stage: Stage, seeds: Sequence[int], stream: str | None = None) -> Tensor:
    """Return x at t = 1 for each seed, (B, *shape): what `run` would start from."""
    empty = torch.empty(len(seeds), *stage.shape, dtype=torch.float32)
    return pure_noise(stage.schedule, empty, seeded_generators(seeds, stream or stage.name))


def seeded_generators(seeds: Sequence[int], stream: str) -> list[torch.Generator]:
    """Return a random generator for each seed: seed k draws the same alone or in a batch.

    Each stream has other numbers, and so has each further time that a seed comes: a second draw.
    """
    draws: Counter[int] = Counter()
    rngs = []
    for seed in seeds:
        name = f"{seed}/{stream}/{draws[seed]}"
        draws[seed] += 1
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        rngs.append(torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1))
    return rngs
