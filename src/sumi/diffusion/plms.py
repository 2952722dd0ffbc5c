"""PLMS, the linear multistep method of PNDM: eps extrapolated from up to four steps, then one step of DDIM.

    eps' = (55 eps_0 - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24,    x_s = alpha_s mean' + sigma_s eps'

where eps_k is the eps of k steps ago and mean' = (x_t - sigma_t eps') / alpha_t. The first step averages eps at both of
its ends, and the next two use two and three points (Liu et al. 2022, Pseudo Numerical Methods for Diffusion Models
on Manifolds, arXiv 2202.09778, equations 12 and 19). It was the first default of Stable Diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import Step, step_to
from sumi.diffusion.schedule import Schedule, per_sample
from sumi.diffusion.target import EpsPrediction, Target

C = TypeVar("C")

# Adams-Bashforth: the weights of the newest answer and of those before it, by how many there are before it.
_WEIGHTS = ((1, 0, 0, 0), (3 / 2, -1 / 2, 0, 0), (23 / 12, -16 / 12, 5 / 12, 0), (55 / 24, -59 / 24, 37 / 24, -9 / 24))

_EPS = EpsPrediction()


class PLMSState(NamedTuple):
    """The answers of the last three steps, newest first, each (B, ...), and how many there are, (B,)."""

    first: Tensor
    second: Tensor
    third: Tensor
    taken: Tensor


@dataclass(frozen=True)
class PLMSSampler:
    """PLMS. It assumes steps of even length; the first step evaluates twice.

    It does not suit chains that start at pure noise, because it divides the extrapolated eps by alpha (0.07 at the
    start of Stable Diffusion).

    Args:
        schedule: the schedule of the denoiser.
        target: the quantity that is extrapolated, eps in the paper. diffusers extrapolates the network's answer.
    """

    schedule: Schedule
    target: Target = _EPS
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def init(self, x: Tensor) -> PLMSState:
        """No answers yet."""
        none = torch.zeros_like(x)
        return PLMSState(none, none, none, torch.zeros(len(x), dtype=torch.long, device=x.device))

    def step(
        self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: PLMSState, rng: Rng
    ) -> Step[PLMSState]:
        """x_s = alpha_s mean' + sigma_s eps'."""
        level_t, level_s = self.schedule(t), self.schedule(s)

        def transfer(answer: Tensor) -> Tensor:
            mean = self.target.mean(answer, x, level_t)
            return level_s.add_noise(mean, level_t.eps(x, mean))

        mean = denoise(x, t, cond).mean
        answer = self.target.of(mean, level_t.eps(x, mean), level_t)
        weights = torch.tensor(_WEIGHTS, dtype=x.dtype, device=x.device)[state.taken].T
        answers = (answer, state.first, state.second, state.third)
        blend = torch.stack([per_sample(w, x) * a for w, a in zip(weights, answers, strict=True)]).sum(dim=0)
        starting = (state.taken == 0) & (s > 0)
        if bool(starting.any()):
            guess = transfer(answer)
            mean_s = denoise(guess, s, cond).mean
            answer_s = self.target.of(mean_s, level_s.eps(guess, mean_s), level_s)
            blend = torch.where(per_sample(starting, x), (answer + answer_s) / 2, blend)
        later = PLMSState(answer, state.first, state.second, (state.taken + 1).clamp(max=3))
        return step_to(s, transfer(blend), mean, later)
