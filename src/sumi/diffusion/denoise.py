"""A denoiser says what the clean signal is, given a noisy one: mean = E[x | x_t].

It is a network, the target it was trained on and the schedule, but a sampler sees a plain function, so
guidance, thresholding and closed-form denoisers are denoisers too. The condition is opaque here.
"""

from __future__ import annotations

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
    """What is believed of x at one time.

    `mean` is E[x | x_t]. `logvar`, if the network learned it, places the log variance of the next reverse
    step between its bounds whatever the step: 0 is log beta_tilde, 1 is log beta (Improved DDPM, arXiv
    2102.09672, eq. 15). Both have the shape of x.
    """

    mean: Tensor
    var_interp: Tensor | None = None


class Network(Protocol[C_contra]):
    """A network as it is called: network(x_t, t, cond) with t of shape (B,)."""

    def __call__(self, x: Tensor, t: Tensor, cond: C_contra, /) -> Tensor:
        """Answers the target."""
        ...


class Denoiser(Protocol[C_contra]):
    """Anything that estimates x from x_t (B, ...) at t (B,) under a condition."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: C_contra, /) -> Estimate:
        """The estimate at t."""
        ...


@dataclass(frozen=True)
class NetworkDenoiser(Generic[C]):
    """A network, read by the target it was trained on, on its schedule."""

    network: Network[C]
    target: Target
    schedule: Schedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        """The estimate at t, in the precision of x_t whatever the network computed in."""
        level = self.schedule(t)
        out = self.network(*self.target.shown(x_t, t, level), cond)
        answer, var_interp = self.target.split(out.to(x_t.dtype))
        return Estimate(self.target.mean(answer, x_t, level), var_interp)


def threshold(denoise: Denoiser[C], limit: float = 1.0, quantile: float | None = None) -> Denoiser[C]:
    """The same denoiser with its mean kept within [-limit, limit].

    Static, by clamping; or, with a quantile (0.995, say), dynamic: where that quantile of |mean| over a
    sample exceeds the limit, the sample is clamped there and scaled back, which keeps strong guidance from
    saturating. Saharia et al. 2022, Imagen, arXiv 2205.11487, sec. 2.3.
    """
    if quantile is not None and not 0 < quantile <= 1:
        raise ValueError(f"quantile must lie in (0, 1], not {quantile}")

    def thresholded(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        estimate = denoise(x_t, t, cond)
        mean = estimate.mean
        if quantile is None:
            return Estimate(mean.clamp(-limit, limit), estimate.var_interp)
        magnitude = mean.abs().reshape(len(mean), -1)
        rank = max(1, round(quantile * magnitude.shape[1]))
        reach = per_sample(magnitude.kthvalue(rank, dim=1).values.clamp_min(limit), mean)
        return Estimate(torch.clamp(mean, -reach, reach) * (limit / reach), estimate.var_interp)

    return thresholded
