"""From a signal back to the noise that draws it: the steps of `Euler` (DDIM with eta = 0), walked backwards.

A step from t down to s integrates by its left end, so the x_t that it came from solves

    x_t = x_s - (alpha_s - alpha_t) mean(x_t, t) - (sigma_s - sigma_t) eps(x_t, t)

which is iterated from x_t = x_s. One round is the usual inversion of DDIM (Song et al. 2021, arXiv 2010.02502,
section 4.3), which needs many short steps; a few rounds make sampler and inversion each other's inverse though the
steps are long (Garibi et al. 2024, ReNoise, arXiv 2403.14602). The denoiser is asked only at t > 0, where it says what
eps is; at the data it could not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.sampler import Step
from sumi.diffusion.schedule import Level, Schedule

C = TypeVar("C")


@torch.no_grad()
def invert(
    schedule: Schedule, denoise: Denoiser[C], x: Tensor, times: Tensor, cond: C, rounds: int = 4
) -> Iterator[Step[None]]:
    """Every step up, from x at times[-1] to x at times[0], of the falling `times` (num_steps + 1,) of a sampler.

    rounds: evaluations a step. Sampling from the last x by `Euler` along the same times leads to the first again.
    """
    if rounds < 1:
        raise ValueError(f"an inversion needs at least one round, not {rounds}")
    times = times.to(device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    for s, t in pairwise(times.flip(0)):
        t = t.expand(len(x))
        at_t, at_s = schedule(t), schedule(s.expand(len(x)))
        change, x_t = Level(at_s.alpha - at_t.alpha, at_s.sigma - at_t.sigma), x
        for _ in range(rounds):
            mean = denoise(x_t, t, cond).mean
            x_t = x - change.mix(mean, at_t.noise(x_t, mean))
        x = x_t
        yield Step(x, mean, None)
