"""Targets: what a network predicts, and how that gives the clean signal. Reading path, 2 of 5; next: `denoise.py`.

Every target is a linear combination of x and eps, so two linear equations give x back:

    answer = p x + q eps
    x_t = alpha x + sigma eps   =>   x = (q x_t - sigma answer) / (q alpha - sigma p)

At a fixed x_t an error d in x is an error -(alpha / sigma) d in eps, and so an error gain d in the answer with gain =
p - q alpha / sigma. Targets differ in the weights that they give the times, and in how easy they are to predict
(Salimans and Ho 2022, arXiv 2202.00512, sec. 4; Kingma and Gao 2023, arXiv 2303.00848, table 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sumi.diffusion.schedule import MIN_DIVISOR, Level, per_sample


class Target(Protocol):
    """A quantity that a network predicts. Amplitudes have shape (B,), everything else (B, ...)."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(p, q), each (B,)."""
        ...

    def of(self, x: Tensor, eps: Tensor, level: Level) -> Tensor:
        """The right answer: p x + q eps."""
        p, q = self.weights(level)
        return per_sample(p, x) * x + per_sample(q, x) * eps

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """E[x | x_t] from the answer of a network."""
        p, q = self.weights(level)
        scale = 1 / _nonzero(q * level.alpha - level.sigma * p)
        return per_sample(q * scale, x_t) * x_t - per_sample(level.sigma * scale, x_t) * answer

    def gain(self, level: Level, min_sigma: float = MIN_DIVISOR) -> Tensor:
        """The error in the answer for a unit error in the mean, (B,), with sigma clamped to `min_sigma`."""
        p, q = self.weights(level)
        return p - q * level.alpha / level.sigma.clamp_min(min_sigma)

    def scale_inputs(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """The network's inputs for (x_t, t): by default (x_t, t) itself."""
        return x_t, t

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's output as (answer, var_interp); var_interp is None unless the target learns a variance."""
        return out, None


@dataclass(frozen=True)
class EpsPrediction(Target):
    """The noise, eps. Ho et al. 2020, arXiv 2006.11239, eq. 9 and 12."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, 1)."""
        return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class X0Prediction(Target):
    """The clean signal, x, as in unCLIP's prior. Ramesh et al. 2022, arXiv 2204.06125, eq. 2."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(1, 0)."""
        return torch.ones_like(level.alpha), torch.zeros_like(level.alpha)

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """The answer itself."""
        return answer


@dataclass(frozen=True)
class VPrediction(Target):
    """v = alpha eps - sigma x, well posed at both ends. Salimans and Ho 2022, arXiv 2202.00512, sec. 4 and app. D."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-sigma, alpha)."""
        return -level.sigma, level.alpha


@dataclass(frozen=True)
class FlowPrediction(Target):
    """eps - x, which on `FlowSchedule` is the velocity dx_t / dt. Liu et al. 2023, arXiv 2209.03003, eq. 1."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-1, 1)."""
        return -torch.ones_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class ScorePrediction(Target):
    """The score, grad log q(x_t | x) = -eps / sigma. Vincent 2011; Song et al. 2021, arXiv 2011.13456, eq. 7.

    Its squared error grows as 1 / sigma^2 when sigma falls, which `snr_weight` balances.
    """

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, -1 / sigma)."""
        return torch.zeros_like(level.alpha), -1 / level.sigma.clamp_min(MIN_DIVISOR)


@dataclass(frozen=True)
class EDMPrediction(Target):
    """The output of a preconditioned network F: its input and output have unit variance if x has the deviation d.

        mean = alpha d^2 / r^2 x_t + sigma d / r F(x_t / r, log(sigma / alpha) / 4)
        r^2 = alpha^2 d^2 + sigma^2

    Karras et al. 2022, arXiv 2206.00364, eq. 7 and table 1, for any alpha. If d = 1 and alpha^2 + sigma^2 = 1, F = -v.

    Args:
        sigma_data: d, the standard deviation of the data.
    """

    sigma_data: float = 0.5

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(sigma / (d r), -alpha d / r)."""
        r = self._std(level)
        return level.sigma / (self.sigma_data * r), -level.alpha * self.sigma_data / r

    def scale_inputs(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """(c_in x_t, c_noise)."""
        return x_t / per_sample(self._std(level), x_t), -level.logsnr / 8

    def _std(self, level: Level) -> Tensor:
        """r, the standard deviation of x_t."""
        return torch.hypot(level.alpha * self.sigma_data, level.sigma)


@dataclass(frozen=True)
class LearnedVariance(Target):
    """Another target and, beside it, the variance of the reverse steps. Nichol and Dhariwal 2021, 2102.09672, eq. 15.

    The network's output has twice the channels (axis 1). The second half, in about [-1, 1], becomes `var_interp` in
    about [0, 1] (see `Estimate`).

    Args:
        target: the target of the first half.
    """

    target: Target

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """Those of the wrapped target."""
        return self.target.weights(level)

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """The mean by the wrapped target."""
        return self.target.mean(answer, x_t, level)

    def scale_inputs(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """The inputs of the wrapped target."""
        return self.target.scale_inputs(x_t, t, level)

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """(first half, (second half + 1) / 2)."""
        answer, v = out.chunk(2, dim=1)
        return answer, (v + 1) / 2


@dataclass(frozen=True)
class WholeSteps(Target):
    """Another target, whose network gets the nearest of the times k / num_steps that it was trained at.

    diffusers rounds the time so for DPM-Solver++ on the times of Karras et al.; the level stays that of t.

    Args:
        target: the wrapped target.
        num_steps: T, the length of the chain.
    """

    target: Target
    num_steps: int = 1000

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """Those of the wrapped target."""
        return self.target.weights(level)

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """The mean by the wrapped target."""
        return self.target.mean(answer, x_t, level)

    def scale_inputs(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """The inputs of the wrapped target at the nearest whole step."""
        return self.target.scale_inputs(x_t, (t * self.num_steps).round() / self.num_steps, level)

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """The split of the wrapped target."""
        return self.target.split(out)


def _nonzero(value: Tensor) -> Tensor:
    """The value, or MIN_DIVISOR where it is closer to zero."""
    return torch.where(value.abs() < MIN_DIVISOR, MIN_DIVISOR, value)
