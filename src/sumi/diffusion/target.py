"""What a network is asked for, and how its answer becomes an estimate of the clean signal.

Every target is a linear combination of x and eps, and solving two linear equations gives x back:

    answer = p x + q eps
    x_t = alpha x + sigma eps   =>   x = (q x_t - sigma answer) / (q alpha - sigma p)

At a fixed x_t an error d in x is an error -(alpha / sigma) d in eps, hence one of gain d in the answer with
gain = p - q alpha / sigma: targets differ in what they weight, and in what a network finds easy to say
(Salimans and Ho 2022, arXiv 2202.00512, sec. 4; Kingma and Gao 2023, arXiv 2303.00848, table 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sumi.diffusion.schedule import MIN_DIVISOR, Level, per_sample


class Target(Protocol):
    """A quantity to regress on. Levels have shape (B,), everything else (B, ...)."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(p, q), each of shape (B,)."""
        ...

    def of(self, x: Tensor, eps: Tensor, level: Level) -> Tensor:
        """What the network should answer: p x + q eps."""
        p, q = self.weights(level)
        return per_sample(p, x) * x + per_sample(q, x) * eps

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """E[x | x_t] from what it answered."""
        p, q = self.weights(level)
        scale = 1 / _nonzero(q * level.alpha - level.sigma * p)
        return per_sample(q * scale, x_t) * x_t - per_sample(level.sigma * scale, x_t) * answer

    def gain(self, level: Level, min_sigma: float = MIN_DIVISOR) -> Tensor:
        """The error in the answer for a unit error in the mean, shape (B,), sigma held above `min_sigma`."""
        p, q = self.weights(level)
        return p - q * level.alpha / level.sigma.clamp_min(min_sigma)

    def shown(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """What the network is shown for (x_t, t): by default just that."""
        return x_t, t

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's output as (answer, logvar); most targets have no logvar."""
        return out, None


@dataclass(frozen=True)
class EpsPrediction(Target):
    """The noise. Ho et al. 2020, arXiv 2006.11239, eq. 9 and 12."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, 1)."""
        return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class X0Prediction(Target):
    """The clean signal itself, as in unCLIP's prior (Ramesh et al. 2022, arXiv 2204.06125, eq. 2)."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(1, 0)."""
        return torch.ones_like(level.alpha), torch.zeros_like(level.alpha)

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """The answer, even at sigma = 0, where x_t says as much."""
        return answer


@dataclass(frozen=True)
class VPrediction(Target):
    """v = alpha eps - sigma x, well posed at both ends. Salimans and Ho 2022, sec. 4 and app. D."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-sigma, alpha)."""
        return -level.sigma, level.alpha


@dataclass(frozen=True)
class FlowPrediction(Target):
    """eps - x, which on Flow is dx_t / dt. Liu et al. 2023, arXiv 2209.03003, eq. 1."""

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(-1, 1)."""
        return -torch.ones_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class ScorePrediction(Target):
    """grad log p(x_t | x) = -eps / sigma, whose error explodes as sigma falls: weight it by `snr_weight`.

    Vincent 2011; Song et al. 2021, arXiv 2011.13456, eq. 7.
    """

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(0, -1 / sigma)."""
        return torch.zeros_like(level.alpha), -1 / level.sigma.clamp_min(MIN_DIVISOR)


@dataclass(frozen=True)
class EDMPrediction(Target):
    """A preconditioned network F, whose input and output have unit variance where x has sigma_data = d.

        mean = alpha d^2 / r^2 x_t + sigma d / r F(x_t / r, log(sigma / alpha) / 4)
        r^2 = alpha^2 d^2 + sigma^2

    Karras et al. 2022, arXiv 2206.00364, eq. 7 and table 1, here for any alpha. With d = 1 and alpha^2 +
    sigma^2 = 1, F = -v.
    """

    sigma_data: float = 0.5

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """(sigma / (d r), -alpha d / r)."""
        r = self._spread(level)
        return level.sigma / (self.sigma_data * r), -level.alpha * self.sigma_data / r

    def shown(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """(c_in x_t, c_noise)."""
        return x_t / per_sample(self._spread(level), x_t), -level.logsnr / 8

    def _spread(self, level: Level) -> Tensor:
        """r, the standard deviation of x_t."""
        return torch.hypot(level.alpha * self.sigma_data, level.sigma)


@dataclass(frozen=True)
class LearnedVariance(Target):
    """Another target, and beside it where the variance of a reverse step lies between its two bounds.

    The network's output has twice the channels (axis 1); the second half, in about [-1, 1], becomes a share
    in [0, 1]. Nichol and Dhariwal 2021, Improved DDPM, arXiv 2102.09672, eq. 15.
    """

    target: Target

    def weights(self, level: Level) -> tuple[Tensor, Tensor]:
        """Those of the wrapped target."""
        return self.target.weights(level)

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """The mean by the wrapped target."""
        return self.target.mean(answer, x_t, level)

    def shown(self, x_t: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """What the wrapped target shows."""
        return self.target.shown(x_t, t, level)

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """(first half, second half as a share)."""
        answer, share = out.chunk(2, dim=1)
        return answer, (share + 1) / 2


def _nonzero(value: Tensor) -> Tensor:
    """The value, kept at least MIN_DIVISOR away from zero."""
    return torch.where(value.abs() < MIN_DIVISOR, MIN_DIVISOR, value)
