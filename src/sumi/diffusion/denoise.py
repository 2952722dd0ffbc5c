"""Denoisers: estimates of the clean signal, mean = E[x | x_t]. Reading path, 3 of 5; next: `sampler.py`.

A `NetworkDenoiser` is a network, the target it was trained on and the schedule. A sampler sees a plain function, so
guidance, thresholding and closed-form denoisers are denoisers too. The condition is passed through untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from sumi.diffusion.schedule import Schedule, per_sample
from sumi.diffusion.target import Target

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


@dataclass(frozen=True)
class Estimate:
    """The estimate of x at one time.

    Attributes:
        mean: E[x | x_t], (B, ...).
        var_interp: v in about [0, 1], (B, ...), where the network learned the variance of its reverse steps, else None.
            A step from t to s, of any length, has log var = v log beta + (1 - v) log beta_tilde, with the bounds of
            `snr_drop` (Nichol and Dhariwal 2021, Improved DDPM, arXiv 2102.09672, eq. 15).
    """

    mean: Tensor
    var_interp: Tensor | None = None


class Network(Protocol[C_contra]):
    """A network as it is called: network(x_t, t, cond)."""

    def __call__(self, x: Tensor, t: Tensor, cond: C_contra, /) -> Tensor:
        """The network's answer to its target, (B, ...), for x_t (B, ...) at t (B,)."""
        ...


class Denoiser(Protocol[C_contra]):
    """A function that estimates x from x_t (B, ...) at t (B,) under a condition."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: C_contra, /) -> Estimate:
        """The estimate of x."""
        ...


@dataclass(frozen=True)
class NetworkDenoiser(Generic[C]):
    """A network, the target it was trained on, and its schedule."""

    network: Network[C]
    target: Target
    schedule: Schedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        """The estimate of x, in the dtype of x_t whatever the network computed in."""
        level = self.schedule(t)
        out = self.network(*self.target.scale_inputs(x_t, t, level), cond)
        answer, var_interp = self.target.split(out.to(x_t.dtype))
        return Estimate(self.target.mean(answer, x_t, level), var_interp)


def threshold(
    denoise: Denoiser[C], limit: float = 1.0, quantile: float | None = None, most: float = math.inf
) -> Denoiser[C]:
    """Wrap a denoiser so that its mean stays within [-limit, limit]. Saharia et al. 2022, arXiv 2205.11487, sec. 2.3.

    Args:
        denoise: the denoiser to wrap.
        limit: largest |mean|.
        quantile: in (0, 1], 0.995 in the paper, for dynamic thresholding: where that quantile of |mean| over a sample
            exceeds the limit, the sample is clamped there and scaled back to it, so that strong guidance does not
            saturate. None, the default, clamps to the limit (static thresholding).
        most: where a sample is clamped at the latest, whatever its quantile.

    Raises:
        ValueError: the quantile lies outside (0, 1].
    """
    if quantile is not None and not 0 < quantile <= 1:
        raise ValueError(f"quantile must lie in (0, 1], not {quantile}")

    def thresholded(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        estimate = denoise(x_t, t, cond)
        mean = estimate.mean
        if quantile is None:
            return Estimate(mean.clamp(-limit, limit), estimate.var_interp)
        magnitude = mean.abs().reshape(len(mean), -1)
        rank = quantile * (magnitude.shape[1] - 1)
        below, above = (magnitude.kthvalue(k + 1, dim=1).values for k in (math.floor(rank), math.ceil(rank)))
        reach = per_sample(torch.lerp(below, above, rank - math.floor(rank)).clamp(limit, most), mean)
        return Estimate(torch.clamp(mean, -reach, reach) * (limit / reach), estimate.var_interp)

    return thresholded
