"""DDPM and DDIM: estimate the clean signal at t, then draw x_s from a Gaussian with that estimate for x.

The papers number the steps of a variance-preserving chain. Here t and s are any two times, and alpha and sigma are the
amplitudes of any schedule: alpha_t is the papers' sqrt(alpha_bar_t), and sigma_t is their sqrt(1 - alpha_bar_t).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import StatelessSampler, Step, step_to
from sumi.diffusion.schedule import Schedule, alpha_ratio, sigma_ratio, snr_drop

C = TypeVar("C")


@dataclass(frozen=True)
class DDPMSampler(StatelessSampler):
    """DDPM: ancestral sampling. Ho et al. 2020, arXiv 2006.11239, eq. 7 and algorithm 2.

    Args:
        schedule: the schedule of the denoiser.
        var_interp: v in [0, 1], which sets the variance of a step between its two bounds (Nichol and Dhariwal 2021,
            Improved DDPM, arXiv 2102.09672, eq. 15): 0 is beta_tilde ("fixed small"), the right variance for data that
            are one point, and 1 is beta ("fixed large"), the right one for data from N(0, I). A variance that the
            network learned (`Estimate.var_interp`) takes its place.
    """

    schedule: Schedule
    var_interp: float = 0.0
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Draw x_s from q(x_s | x_t, x = mean)."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        estimate = denoise(x, t, cond)
        c = snr_drop(level_t, level_s)  # beta = c sigma_t^2, beta_tilde = c sigma_s^2
        x_weight = alpha_ratio(level_t, level_s) * sigma_ratio(level_t, level_s) ** 2
        posterior_mean = level_s.alpha * c * estimate.mean + x_weight * x  # eq. 7
        v = self.var_interp if estimate.var_interp is None else estimate.var_interp
        std = c.sqrt() * level_s.sigma ** (1 - v) * level_t.sigma**v  # log var = v log beta + (1 - v) log beta_tilde
        return step_to(s, posterior_mean + std * normal(x, rng), estimate.mean, None)


@dataclass(frozen=True)
class DDIMSampler(StatelessSampler):
    """DDIM. Song et al. 2021, arXiv 2010.02502, eq. 12 and 16.

    Args:
        schedule: the schedule of the denoiser.
        eta: in [0, 1]. 0 is deterministic; 1 has the variance of DDPM (beta_tilde).

    Raises:
        ValueError: eta lies outside [0, 1].
    """

    schedule: Schedule
    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], not {self.eta}")

    @property
    def stochastic(self) -> bool:
        """Whether a step adds noise."""
        return self.eta > 0

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """x_s = alpha_s "predicted x" + "direction pointing to x_t" + "random noise"."""
        level_t, level_s = self.schedule(t).like(x), self.schedule(s).like(x)
        mean = denoise(x, t, cond).mean
        eps = level_t.eps(x, mean)
        sigma = self.eta * level_s.sigma * snr_drop(level_t, level_s).sqrt()  # eq. 16
        x_s = level_s.alpha * mean + (level_s.sigma**2 - sigma**2).sqrt() * eps  # eq. 12
        if self.stochastic:
            x_s = x_s + sigma * normal(x, rng)
        return step_to(s, x_s, mean, None)
