"""The training loss: add noise at a random time and regress the target. Reading path, 5 of 5.

    loss = mean |answer - target(x, eps)|^2,    x_t = alpha x + sigma eps

Ho et al. 2020, arXiv 2006.11239, algorithm 1 and eq. 14. The error in a target is the error in the mean times a gain
(see `target.py`). So a network may answer one target while the loss measures another, and a weight on the error in the
mean becomes a weight on any target's error when divided by the gain squared.
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

# Weights are evaluated at a logsnr clamped to +- this, beyond which float32 overflows.
_EXTREME_LOGSNR = 40.0


class Loss(Protocol):
    """A training loss, one value per example."""

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example of x (B, ...), shape (B,)."""
        ...


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss of a network that answers `target`. Ho et al. 2020, arXiv 2006.11239, eq. 14.

    Args:
        target: what the network answers.
        schedule: the schedule.
        times: draws the time of each example.
        measure: the target that the error is measured in, by default `target`. JiT, for instance, answers x and
            measures the flow velocity (Li and He 2025, arXiv 2511.13720, table 1).
        weighting: logsnr (B,) to the weight of |mean - x|^2, (B,). By default the squared error of the measured target
            has weight 1.
        bound: adds the term that trains the variance of a `LearnedVariance` target.
        min_sigma: sigma is clamped to this where the gain of `measure` divides by it.
    """

    target: Target
    schedule: Schedule
    times: TimeSampler = _UNIFORM
    measure: Target | None = None
    weighting: Weighting | None = None
    bound: VariationalBound | None = None
    min_sigma: float = 0.05

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """Draw t and eps and return the loss of each example.

        Args:
            network: called once as network(x_t, t, cond).
            x: clean examples, (B, ...).
            cond: passed to the network.
            rng: one generator for the batch, or one a sample.

        Returns:
            (B,), in float32 or wider.

        Raises:
            ValueError: there is a bound, and the target has no learned variance.
        """
        t = self.times(len(x), rng).to(device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        eps = normal(x, rng)
        level = self.schedule(t)
        x_t = level.add_noise(x, eps)
        answer, var_interp = self.target.split(network(*self.target.scale_inputs(x_t, t, level), cond).to(x_t.dtype))
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
    """The loss of a network that predicts x from its condition alone, without noise or time.

        loss = mean h(answer - x) + edges · mean h(d answer - d x),    d: differences of neighbours, down and across
        h(e) = e^2 / 2 where |e| < delta, delta (|e| - delta / 2) elsewhere                                 (Huber 1964)

    A plain absolute error does not train a network that starts at the enlarged picture: nearly all pixels are right
    there, each pulls as hard as a wrong edge, and the prediction stays where it is (LOG.md).

    Args:
        edges: weight of the differences of neighbours, on which a soft edge costs as much as a misplaced one.
        delta: where the Huber loss turns from quadratic to linear.
    """

    edges: float = 0.5
    delta: float = 0.5

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss of each example of x (B, C, H, W): (B,), in float32 or wider."""
        t = torch.ones(len(x), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        error = network(torch.zeros_like(x), t, cond).to(t.dtype) - x
        loss = self._huber(error)
        for axis in (-1, -2):
            loss = loss + self.edges * self._huber(error.diff(dim=axis))
        return loss

    def _huber(self, error: Tensor) -> Tensor:
        """The mean Huber loss of each example, (B,)."""
        return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.delta).mean((1, 2, 3))


def _weight(weighting: Weighting, level: Level, gain: Tensor) -> Tensor:
    """The weight of the squared error in the measured target, (B,): the weighting over the gain squared, clamped."""
    weight = weighting(level.logsnr.clamp(-_EXTREME_LOGSNR, _EXTREME_LOGSNR))
    return weight / gain.square().clamp_min(math.exp(-_EXTREME_LOGSNR))


def min_snr_weight(gamma: float = 5.0) -> Weighting:
    """Min-SNR: the weight min(SNR, gamma) on |mean - x|^2. Hang et al. 2023, arXiv 2303.09556, sec. 3.4."""
    return lambda logsnr: logsnr.exp().clamp(max=gamma)


def snr_weight(logsnr: Tensor) -> Tensor:
    """SNR on |mean - x|^2, which is 1 on eps and sigma^2 on the score (Song and Ermon 2019, eq. 5-6)."""
    return logsnr.exp()


def sigmoid_weight(bias: float = 0.0) -> Weighting:
    """sigmoid(bias - logsnr) on the squared error of eps. Hoogeboom et al. 2024, arXiv 2410.19324."""
    return lambda logsnr: logsnr.exp() * torch.sigmoid(bias - logsnr)
