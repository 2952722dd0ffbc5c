"""A stage: one diffusion model and how it is run. Prior, decoder and upsamplers are all stages.

One loop runs every stage. It is a generator, so progress, previews and cancelling need no code of their own:

    x = yield from run(stage, cond, seeds)

The loop asks for each step and does not know who takes it (`sumi.pipelines.steps`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from sumi.pipelines.steps import Inpainting, StepRequest, StepRows, Threshold, Work

__all__ = ["Stage", "batches", "identity", "initial_noise", "initial_x", "run", "seeded_generators"]


def identity(x: Tensor) -> Tensor:
    """Return what was given: the decoding of a stage that draws in the space it is asked for."""
    return x


@dataclass(frozen=True)
class Stage:
    """One diffusion model and how it is run.

    Args:
        name: the name in progress, in recipes, and of its random numbers.
        denoiser: the network, its target and its schedule.
        schedule: the schedule that the denoiser was trained on; samplers walk along it.
        times: the number of steps to that many times and one more, from 1 down to 0.
        shape: the shape of one sample.
        settings: sampler, steps and guidance.
        decode: from the space that the stage draws in to what it means, such as latents to pixels.
        encode: the inverse of decode.
        inpainting: the part of the answer that is known, one row for all samples.
        sampler: a sampler in place of the one that the settings name.
        threshold: the range that estimates are held to, after guidance.
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
    inpainting: Inpainting | None = None
    sampler: Sampler[Any] | None = None
    threshold: Threshold | None = None

    def with_settings(
        self, sampler: str | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Stage:
        """Return the stage with other settings; None keeps one. SumiError for an unknown sampler."""
        check_choice("sampler", sampler or self.settings.sampler, list(SAMPLERS))
        settings = self.settings
        return self.with_settings_of(
            replace(
                settings,
                sampler=settings.sampler if sampler is None else sampler,
                steps=settings.steps if steps is None else steps,
                guidance=settings.guidance if guidance is None else guidance,
            )
        )

    def with_settings_of(self, settings: Settings) -> Stage:
        """Return the stage run as these settings say; SumiError for an unknown sampler."""
        if self.sampler is None:
            check_choice("sampler", settings.sampler, list(SAMPLERS))
        return replace(self, settings=settings)


def batches(count: int, size: int | None) -> Iterator[slice]:
    """Yield slices of at most `size` of so many rows; one slice where there is no limit."""
    size = size or max(1, count)
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def run(
    stage: Stage,
    cond: Cond,
    seeds: Sequence[int],
    null: Cond | None = None,
    *,
    stream: str | None = None,
    batch: int | None = None,
    part: tuple[int, int] = (0, 1),
    x: Tensor | None = None,
    rngs: Sequence[torch.Generator] | None = None,
) -> Work[Tensor]:
    """Draw one sample for each seed, asking for every step and reporting progress after it.

    Args:
        stage: what is run.
        cond: the condition, a row for each sample.
        seeds: one for each sample.
        null: what guidance leads away from; by default zeros.
        stream: the name of the random numbers (see `seeded_generators`); by default the name of the stage.
        batch: how many samples to draw at once; by default all.
        part: which part of how many this call is, so that progress counts them together.
        x: where to start, (B, *shape); by default `initial_x`.
        rngs: a generator for each sample, in place of those of the seeds and the stream.

    Returns:
        The samples, (B, *shape).
    """
    count = len(seeds) if x is None else len(x)
    rngs = seeded_generators(seeds, stage.name if stream is None else stream) if rngs is None else rngs
    rows = list(batches(count, batch))
    drawn = []
    for number, some in enumerate(rows):
        begun = initial_x(stage, cond[some], rngs[some]) if x is None else x[some]
        away = None if null is None else null[some]
        counted = (part[0] * len(rows) + number, part[1] * len(rows))
        drawn.append((yield from _walk(stage, begun, cond[some], away, seeds[some], rngs[some], counted)))
    return torch.cat(drawn)


def _walk(
    stage: Stage,
    x: Tensor,
    cond: Cond,
    null: Cond | None,
    seeds: Sequence[int],
    rngs: Sequence[torch.Generator],
    part: tuple[int, int],
) -> Work[Tensor]:
    """Go down from the first time to the last, one step after another."""
    settings, count = stage.settings, len(x)
    sampler = stage.sampler or SAMPLERS[settings.sampler](stage.schedule)
    times = settings.start * stage.times(settings.steps).to(x.device, torch.float32)
    num_steps, state = len(times) - 1, sampler.init(x)
    scale, low, high = (
        torch.full((count,), value, dtype=torch.float32) for value in (settings.guidance, *settings.interval)
    )
    null = None if settings.guidance == 1.0 else cond.null() if null is None else null
    known = None if stage.inpainting is None else stage.inpainting.expand(count)
    for done, (t, s) in enumerate(pairwise(times), start=1):
        rows = StepRows(x, t.expand(count), s.expand(count), cond, state, scale, low, high, null, known)
        step = yield StepRequest(
            stage.name, stage.denoiser, sampler, rows, rngs, last=done == num_steps, threshold=stage.threshold
        )
        x, state = step.x, step.state
        yield Progress(stage.name, part[0] * num_steps + done, part[1] * num_steps, step.mean, tuple(seeds))
    return x


def initial_x(stage: Stage, cond: Cond, rngs: Sequence[torch.Generator]) -> Tensor:
    """Return x at the time to walk down from, (B, *shape): noise, or the enlarged small picture, noised as far.

    The nearer the start is to the answer, the fewer steps are needed (Chung et al. 2022, Come-Closer-Diffuse-Faster,
    arXiv 2112.05146, section 3).
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
    """Return a random generator for each seed, the same alone and in any batch.

    Each stream has numbers of its own, and so has each further time that a seed comes: a second draw. The stream ""
    is that of the seed itself, as `torch.manual_seed` gives it.
    """
    if not stream:
        return [torch.Generator().manual_seed(seed) for seed in seeds]
    draws: Counter[int] = Counter()
    rngs = []
    for seed in seeds:
        name = f"{seed}/{stream}/{draws[seed]}"
        draws[seed] += 1
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        rngs.append(torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1))
    return rngs
