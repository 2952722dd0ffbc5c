"""Schedules: the amplitudes of signal and noise at each time. Reading path, 1 of 5; next: `target.py`.

    x_t = alpha(t) x + sigma(t) eps,    eps ~ N(0, I),    t = 0 is data, t = 1 is noise

A schedule is a curve (alpha, sigma), so DDPM, NCSN, EDM and flow matching are four curves of one library. Everything
that is invariant to rescaling x_t depends on logsnr = 2 log(alpha / sigma) alone, which falls as t grows (Kingma et al.
2021, Variational Diffusion Models, arXiv 2107.00630, sec. 3). In every schedule t = 0 is exactly the data: alpha(0) = 1
and sigma(0) = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

# Amplitudes are clamped to these before they divide or enter a logarithm, so both ends of a schedule stay finite.
MIN_DIVISOR = 1e-8
MIN_AMPLITUDE = 1e-20


class Level(NamedTuple):
    """The amplitudes of signal and noise at one time, each (B,), or (B, 1, ..., 1) after `like`."""

    alpha: Tensor
    sigma: Tensor

    @property
    def logsnr(self) -> Tensor:
        """2 log(alpha / sigma), in the shape of the amplitudes; finite (about +-92) even where one of them is zero."""
        return 2 * (self.alpha.clamp_min(MIN_AMPLITUDE).log() - self.sigma.clamp_min(MIN_AMPLITUDE).log())

    def like(self, x: Tensor) -> Level:
        """The same level with trailing axes of length one, so that it broadcasts against x (B, ...)."""
        return Level(per_sample(self.alpha, x), per_sample(self.sigma, x))

    def add_noise(self, x: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x + sigma eps, all of shape (B, ...)."""
        alpha, sigma = self.like(x)
        return alpha * x + sigma * eps

    def eps(self, x_t: Tensor, x: Tensor) -> Tensor:
        """The noise in x_t if x is the clean signal: (x_t - alpha x) / sigma."""
        alpha, sigma = self.like(x_t)
        return (x_t - alpha * x) / sigma.clamp_min(MIN_DIVISOR)


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """One value per sample, (B,), reshaped to (B, 1, ..., 1) to broadcast against x (B, ...)."""
    return value.reshape(value.shape + (1,) * (x.ndim - value.ndim))


def snr_drop(level_t: Level, level_s: Level) -> Tensor:
    """c = 1 - SNR(t) / SNR(s) for s before t, in [0, 1]: the share of the noise variance at t that is added after s.

    A step of the forward process is q(x_t | x_s) = N(a x_s, beta I) with a = alpha_t / alpha_s and beta = c sigma_t^2,
    and its posterior q(x_s | x_t, x) has the variance beta_tilde = c sigma_s^2 (Kingma et al. 2021, arXiv 2107.00630,
    app. A). On a variance-preserving chain beta and beta_tilde are those of DDPM.
    """
    return -torch.expm1(level_t.logsnr - level_s.logsnr)


def sigma_ratio(level_t: Level, level_s: Level) -> Tensor:
    """sigma_s / sigma_t, finite also where both are zero."""
    return level_s.sigma.clamp_min(MIN_AMPLITUDE) / level_t.sigma.clamp_min(MIN_AMPLITUDE)


def alpha_ratio(level_t: Level, level_s: Level) -> Tensor:
    """alpha_t / alpha_s, finite also where both are zero."""
    return level_t.alpha.clamp_min(MIN_AMPLITUDE) / level_s.alpha.clamp_min(MIN_AMPLITUDE)


class Schedule(Protocol):
    """A curve of levels: continuous on t in (0, 1], falling in logsnr, and the data itself at t = 0."""

    def __call__(self, t: Tensor) -> Level:
        """The level at t (B,), each in [0, 1]."""
        ...

    def time(self, logsnr: Tensor) -> Tensor:
        """The inverse: the t at which the schedule has this logsnr (B,), clamped to [0, 1]."""
        ...


@dataclass(frozen=True)
class FlowSchedule:
    """A straight line from data to noise: alpha = 1 - t, sigma = t.

    Flow matching and rectified flow: Lipman et al. 2023, arXiv 2210.02747, eq. 20-22 (sigma_min = 0);
    Liu et al. 2023, arXiv 2209.03003, eq. 1.
    """

    def __call__(self, t: Tensor) -> Level:
        """The level at t."""
        return Level(1 - t, t)

    def time(self, logsnr: Tensor) -> Tensor:
        """sigmoid(-logsnr / 2)."""
        return torch.sigmoid(-logsnr / 2)


@dataclass(frozen=True)
class VPSchedule:
    """Variance preserving with a linear beta(t): log alpha = -(beta_max - beta_min) t^2 / 4 - beta_min t / 2.

    Song et al. 2021, Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq. 33.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __call__(self, t: Tensor) -> Level:
        """The level at t."""
        return _preserving(-t * (self.beta_min + (self.beta_max - self.beta_min) * t / 2))

    def time(self, logsnr: Tensor) -> Tensor:
        """Solve the quadratic for t, in the form without cancellation near t = 0."""
        slope, b = self.beta_max - self.beta_min, self.beta_min / 2
        depth = (softplus(-logsnr) / 2).clamp(max=slope / 4 + b)  # -log alpha
        return 2 * depth / (b + (b * b + slope * depth).sqrt())


@dataclass(frozen=True)
class VESchedule:
    """Variance exploding, geometric: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t, sigma(0) = 0.

    Song et al. 2021, arXiv 2011.13456, eq. 31, and the jump from sigma_min to 0 at t = 0 is theirs (app. C).
    The levels of NCSN (Song and Ermon 2019, arXiv 1907.05600) are points on this curve.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __call__(self, t: Tensor) -> Level:
        """The level at t."""
        sigma = self.sigma_min * torch.exp(t * math.log(self.sigma_max / self.sigma_min))
        return Level(torch.ones_like(t), torch.where(t > 0, sigma, 0.0))

    def time(self, logsnr: Tensor) -> Tensor:
        """log(sigma / sigma_min) / log(sigma_max / sigma_min)."""
        climb = -logsnr / 2 - math.log(self.sigma_min)
        return (climb / math.log(self.sigma_max / self.sigma_min)).clamp(0, 1)


@dataclass(frozen=True)
class EDMSchedule:
    """Variance exploding with a power law: alpha = 1, sigma = sigma_max t^rho.

    Equal steps in t are the steps of Karras et al. 2022, arXiv 2206.00364, eq. 5, with sigma_min = 0;
    `karras_times` places them between two sigmas as the paper does.
    """

    sigma_max: float = 80.0
    rho: float = 7.0

    def __call__(self, t: Tensor) -> Level:
        """The level at t."""
        return Level(torch.ones_like(t), self.sigma_max * t**self.rho)

    def time(self, logsnr: Tensor) -> Tensor:
        """(sigma / sigma_max)^(1 / rho)."""
        return torch.exp((-logsnr / 2 - math.log(self.sigma_max)) / self.rho).clamp(0, 1)


@dataclass(frozen=True)
class BetaSchedule:
    """The chain of DDPM: t = k / T is its step k, and log alpha_bar is linear between these nodes.

        alpha_bar_k = prod_{i <= k} (1 - beta_i),    alpha = sqrt(alpha_bar),    sigma = sqrt(1 - alpha_bar)

    Ho et al. 2020, arXiv 2006.11239, eq. 4.

    Args:
        betas: beta_1 ... beta_T, each in (0, 1).
        between: the quantity that is linear between nodes. "logsnr" is linear in logsnr from the first node on, as
            k-diffusion and diffusers turn a sigma into a timestep.

    Raises:
        ValueError: there is no beta, or one lies outside (0, 1).
    """

    betas: tuple[float, ...]
    between: Literal["log_alpha_bar", "logsnr"] = "log_alpha_bar"

    def __post_init__(self) -> None:
        if not self.betas or not all(0 < beta < 1 for beta in self.betas):
            raise ValueError("betas must be a non-empty sequence of numbers strictly between 0 and 1")

    @classmethod
    def linear(cls, num_steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> BetaSchedule:
        """Make DDPM's table (arXiv 2006.11239, sec. 4), with betas scaled by 1000 / T so that any T ends in noise."""
        stretch = 1000 / num_steps
        betas = torch.linspace(start, end, num_steps, dtype=torch.float64) * stretch
        return cls(tuple(betas.clamp(max=0.999).tolist()))

    @classmethod
    def scaled_linear(cls, num_steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> BetaSchedule:
        """Make the table of latent diffusion, linear in sqrt(beta) (Rombach et al. 2022, arXiv 2112.10752)."""
        roots = torch.linspace(start**0.5, end**0.5, num_steps, dtype=torch.float64)
        return cls(tuple((roots**2).tolist()))

    @classmethod
    def cosine(cls, num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> BetaSchedule:
        """Make the cosine table, alpha_bar = cos^2((t + offset) / (1 + offset) pi / 2), with betas up to max_beta.

        Nichol and Dhariwal 2021, Improved DDPM, arXiv 2102.09672, eq. 17.
        """
        t = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
        alpha_bar = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls(tuple((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=max_beta).tolist()))

    def zero_terminal_snr(self, last_alpha_bar: float = 1e-14) -> BetaSchedule:
        """Shift and scale sqrt(alpha_bar) so that the last node is noise alone.

        Lin et al. 2023, Common Diffusion Noise Schedules and Sample Steps are Flawed, arXiv 2305.08891, algorithm 1.

        Args:
            last_alpha_bar: alpha_bar of the last node, above 0.
        """
        root = (_log_alpha_bar(self.betas, torch.device("cpu"), torch.float64)[1:] / 2).exp()
        alpha_bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()
        alpha_bar = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1], alpha_bar.new_tensor([last_alpha_bar])])
        return replace(self, betas=tuple((1 - alpha_bar[1:] / alpha_bar[:-1]).tolist()))

    @property
    def num_steps(self) -> int:
        """T, the length of the chain."""
        return len(self.betas)

    def __call__(self, t: Tensor) -> Level:
        """The level at t (B,); exact at the nodes k / T."""
        table = _log_alpha_bar(self.betas, t.device, t.dtype)
        position = t.clamp(0, 1) * self.num_steps
        k = position.long().clamp(max=self.num_steps - 1)
        log_alpha_bar = torch.lerp(table[k], table[k + 1], position - k)
        if self.between == "logsnr":
            straight = torch.lerp(_logsnr(table[k]), _logsnr(table[k + 1]), position - k)
            log_alpha_bar = torch.where(k > 0, logsigmoid(straight), log_alpha_bar)
        return _preserving(log_alpha_bar)

    def time(self, logsnr: Tensor) -> Tensor:
        """Find the node below by bisection, and solve the linear interpolation above it."""
        table = _log_alpha_bar(self.betas, logsnr.device, logsnr.dtype)
        value = torch.maximum(logsigmoid(logsnr), table[-1])
        k = torch.searchsorted(-table, -value, right=True).clamp(1, self.num_steps) - 1
        below, above = table[k], table[k + 1]
        fraction = (value - below) / (above - below)
        if self.between == "logsnr":
            below, above = _logsnr(below), _logsnr(above)
            fraction = torch.where(k > 0, (_logsnr(value) - below) / (above - below), fraction)
        return ((k + fraction) / self.num_steps).clamp(0, 1)


@lru_cache
def _log_alpha_bar(betas: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sum the T + 1 values from log alpha_bar_0 = 0 on, in double precision."""
    steps = torch.tensor((0.0, *betas), dtype=torch.float64)
    return torch.log1p(-steps).cumsum(0).to(device=device, dtype=dtype)


def _logsnr(log_alpha_bar: Tensor) -> Tensor:
    """log(alpha_bar / (1 - alpha_bar)); infinite for the data itself."""
    return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))


def _preserving(log_alpha_bar: Tensor) -> Level:
    """Return the level with this log alpha^2 and alpha^2 + sigma^2 = 1; expm1 keeps a small sigma exact."""
    return Level(torch.exp(log_alpha_bar / 2), torch.sqrt(-torch.expm1(log_alpha_bar)))
