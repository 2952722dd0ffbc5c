"""The training loss: noise an example to a random level, ask the network, and measure its answer.

    loss = mean |answer - target(x, eps)|^2,    x_t = alpha x + sigma eps

Ho et al. 2020, arXiv 2006.11239, algorithm 1 and eq. 14. Since targets differ by a gain (see
`sumi.diffusion.target`), a network may answer one and be judged in another, and any weighting of the error in
the mean is a weighting in any of them: divide by the gain squared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion.bound import VariationalBound
from sumi.diffusion.denoise import Network
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.schedule import Level, Schedule, per_sample
from sumi.diffusion.target import Target
from sumi.diffusion.times import TimeSampler, UniformTimes

C = TypeVar("C")
Weighting = Callable[[Tensor], Tensor]

_UNIFORM = UniformTimes()

# Weights are taken between these logsnr, beyond which float32 overflows.
_EXTREME_LOGSNR = 40.0


class Loss(Protocol):
    """One value per example."""

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example of x (B, ...), shape (B,)."""
        ...


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss of a network that answers `target`.

    `measure` judges the answer in another target, as JiT trains X0 on the Velocity loss (Li and He 2025,
    arXiv 2511.13720, table 1); where sigma then divides it is held above `min_sigma`, as in that paper.
    `weighting`, a function of logsnr, is the weight that |mean - x|^2 shall have; by default the squared
    error of the measured target counts as it is. `bound` teaches a `LearnedVariance` its variance.
    """

    target: Target
    schedule: Schedule
    times: TimeSampler = _UNIFORM
    measure: Target | None = None
    weighting: Weighting | None = None
    bound: VariationalBound | None = None
    min_sigma: float = 0.05

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example of x (B, ...), shape (B,), at least in float32."""
        t = self.times(len(x), rng).to(device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        eps = normal(x, rng)
        level = self.schedule(t)
        x_t = level.mix(x, eps)
        answer, var_interp = self.target.split(network(*self.target.shown(x_t, t, level), cond).to(x_t.dtype))
        if self.measure is None:
            gain = self.target.gain(level)
            error = answer - self.target.of(x, eps, level)
        else:
            gain = self.measure.gain(level, self.min_sigma)
            error = per_sample(gain, x) * (self.target.mean(answer, x_t, level) - x)
        loss = error.square().reshape(len(x), -1).mean(1)
        if self.weighting is not None:
            loss = loss * _weight(self.weighting, level, gain)
        if self.bound is not None:
            if var_interp is None:
                raise ValueError("a variational bound needs a target with a learned variance")
            mean = self.target.mean(answer, x_t, level).detach()
            loss = loss + self.bound(x, mean, var_interp, t, self.schedule)
        return loss


@dataclass(frozen=True)
class RegressionLoss:
    """The loss of a network that answers x from its condition alone: no noise, no time.

        loss = mean h(answer - x) + edges · mean h(d answer - d x),    d: differences of neighbours, down and across
        h(e) = e^2 / 2 where |e| < delta, delta (|e| - delta / 2) elsewhere                                 (Huber 1964)

    A plain absolute error does not train a network that begins at the enlarged picture: nearly all pixels are right
    there, each pulls as hard as a wrong edge, and the answer stays where it is (LOG.md). `edges` weighs the differences
    of neighbours, on which a soft edge costs as much as a misplaced one. x is a picture (B, C, H, W).
    """

    edges: float = 0.5
    delta: float = 0.5

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example of x (B, C, H, W), shape (B,), at least in float32."""
        t = torch.ones(len(x), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        error = network(torch.zeros_like(x), t, cond).to(t.dtype) - x
        loss = self._huber(error)
        for axis in (-1, -2):
            loss = loss + self.edges * self._huber(error.diff(dim=axis))
        return loss

    def _huber(self, error: Tensor) -> Tensor:
        """The mean of each example, (B,)."""
        return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.delta).mean((1, 2, 3))


def _weight(weighting: Weighting, level: Level, gain: Tensor) -> Tensor:
    """The weight of the error in the measured target; a gain that has vanished does not divide."""
    weight = weighting(level.logsnr.clamp(-_EXTREME_LOGSNR, _EXTREME_LOGSNR))
    return weight / gain.square().clamp_min(math.exp(-_EXTREME_LOGSNR))


def min_snr_weight(gamma: float = 5.0) -> Weighting:
    """min(SNR, gamma), which balances the levels. Hang et al. 2023, arXiv 2303.09556, sec. 3.4."""
    return lambda logsnr: logsnr.exp().clamp(max=gamma)


def snr_weight(logsnr: Tensor) -> Tensor:
    """SNR: on the mean what one is on eps, and sigma^2 on the score (Song and Ermon 2019, eq. 5-6)."""
    return logsnr.exp()


def sigmoid_weight(bias: float = 0.0) -> Weighting:
    """sigmoid(bias - logsnr) on eps. Hoogeboom et al. 2024, arXiv 2410.19324."""
    return lambda logsnr: logsnr.exp() * torch.sigmoid(bias - logsnr)
