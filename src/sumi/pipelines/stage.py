"""A stage of a pipeline: a denoiser and how it is run. Prior, decoder, upsampler: all the same.

One loop runs every stage, and it is a generator, so that progress, preview and stopping cost nothing:
    x = yield from run(stage, cond, seeds)
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sumi.diffusion import SAMPLERS, Denoiser, Sampler, Schedule, guide, pure_noise, trajectory
from sumi.nn import Cond
from sumi.pipelines.events import Progress
from sumi.pipelines.recipe import Settings
from sumi.pipelines.request import check_choice

Value = TypeVar("Value")


def identity(x: Tensor) -> Tensor:
    """Return what was given: the decoding of a stage that draws in the space it is asked for."""
    return x


@dataclass(frozen=True)
class Stage:
    """One diffusion model and how it is run.

    schedule: the one that the denoiser was trained on; samplers walk along it. times: steps -> (steps + 1,)
    from 1 down to 0. shape: of one sample. decode: from the space the stage draws in to what it means
    (latents to pixels, standardised embedding to z_i); encode: back.
    """

    name: str
    denoiser: Denoiser[Cond]
    schedule: Schedule
    times: Callable[[int], Tensor]
    shape: tuple[int, ...]
    settings: Settings
    decode: Callable[[Tensor], Tensor] = identity
    encode: Callable[[Tensor], Tensor] = identity

    def with_settings(
        self, sampler: str | None = None, steps: int | None = None, guidance: float | None = None
    ) -> Stage:
        """Return the stage run otherwise; None keeps what is. SumiError for an unknown sampler."""
        check_choice("sampler", sampler or self.settings.sampler, list(SAMPLERS))
        changes = {"sampler": sampler, "steps": steps, "guidance": guidance}
        chosen = {name: value for name, value in changes.items() if value is not None}
        return replace(self, settings=replace(self.settings, **chosen))  # type: ignore[arg-type]


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
) -> Generator[Progress, None, Tensor]:
    """Draw one sample for each seed, saying after every step how far it is; returns x (B, *shape).

    null: what guidance leads away from, by default silence. stream: which of a seed's random numbers to
    draw, by default those of the stage's name. chunk, chunks: which batch of how many, so that progress
    counts them all. x: where to start (B, *shape), by default noise. sampler: by default that of the settings.
    """
    settings, rngs = stage.settings, generators(seeds, stream or stage.name)
    denoise, sampler = stage.denoiser, sampler or SAMPLERS[settings.sampler](stage.schedule)
    if settings.guidance != 1.0:
        denoise = guide(denoise, cond.null() if null is None else null, settings.guidance, settings.interval)
    if x is None:
        x = pure_noise(stage.schedule, torch.empty(len(rngs), *stage.shape), rngs)
    for done, step in enumerate(trajectory(sampler, denoise, x, stage.times(settings.steps), cond, rngs), start=1):
        x = step.x
        yield Progress(stage.name, chunk * settings.steps + done, chunks * settings.steps, step.mean, tuple(seeds))
    return x


def noise(stage: Stage, seeds: Sequence[int], stream: str | None = None) -> Tensor:
    """Return x at t = 1 for each seed, (B, *shape): what `run` would start from."""
    return pure_noise(stage.schedule, torch.empty(len(seeds), *stage.shape), generators(seeds, stream or stage.name))


def finished(steps: Generator[object, None, Value]) -> Value:
    """Run to the end without listening and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def generators(seeds: Sequence[int], stream: str) -> list[torch.Generator]:
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
