"""Binomial diffusion: at time t a bit keeps its value with probability alpha, and is otherwise drawn anew.

With bits -1 and +1, x_t has mean alpha x and variance 1 - alpha^2, so this is a variance-preserving schedule. A
denoiser's mean, P(+1) - P(-1), is the whole distribution of a bit. The posterior mean is

    E[x_s | x_t, x] = (a x + b x_t) / (1 + a b x x_t),    a = alpha_s,  b = alpha_t / alpha_s

Sohl-Dickstein et al. 2015, arXiv 1503.03585, section 2.4.1 and table C.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.special import ndtr, xlogy

from sumi.diffusion.denoise import Denoiser, Network, NetworkDenoiser
from sumi.diffusion.rng import Rng, normal
from sumi.diffusion.sampler import StatelessSampler, Step
from sumi.diffusion.schedule import Level, Schedule
from sumi.diffusion.target import X0Prediction
from sumi.diffusion.times import UniformTimes

__all__ = ["BinomialLoss", "BinomialPrediction", "BinomialSampler", "BinomialSchedule"]

C = TypeVar("C")


@dataclass(frozen=True)
class BinomialSchedule(Schedule):
    """alpha = 1 - t: an equal share of the bits is lost in each step, beta_k = 1 / (T - k + 1)."""

    def __call__(self, t: Tensor) -> Level:
        """The level at t."""
        return Level(1 - t, (t * (2 - t)).sqrt())

    def time(self, logsnr: Tensor) -> Tensor:
        """1 - sqrt(sigmoid(logsnr)), written with sigmoid(-logsnr), which does not cancel near 0."""
        noise = torch.sigmoid(-logsnr)
        return noise / (1 + (1 - noise).sqrt())


class BinomialPrediction(X0Prediction):
    """The clean bit as a logit: mean = P(+1) - P(-1) = tanh(logit / 2)."""

    def mean(self, answer: Tensor, x_t: Tensor, level: Level) -> Tensor:
        """E[x | x_t] from the logit of +1."""
        return torch.tanh(answer / 2)


def sample_bits(mean: Tensor, rng: Rng) -> Tensor:
    """Draw bits, -1 or +1, with this mean, (B, ...) in [-1, 1]; with mean alpha x they are a draw of x_t."""
    return torch.where(ndtr(normal(mean, rng)) < (1 + mean) / 2, 1.0, -1.0).to(mean)


def posterior_mean_given_x(x: Tensor, x_t: Tensor, level_t: Level, level_s: Level) -> Tensor:
    """E[x_s | x_t, x] for known bits x, -1 or +1, (B, ...)."""
    a, b = level_s.like(x).alpha, level_t.like(x).alpha / level_s.like(x).alpha
    return (a * x + b * x_t) / (1 + a * b * x * x_t)


def posterior_mean(mean: Tensor, x_t: Tensor, level_t: Level, level_s: Level) -> Tensor:
    """E[x_s | x_t] for bits that are +1 with probability (1 + mean) / 2: the average of both cases."""
    up, down = (posterior_mean_given_x(torch.full_like(mean, x), x_t, level_t, level_s) for x in (1.0, -1.0))
    return (1 + mean) / 2 * up + (1 - mean) / 2 * down


def bound_term(
    denoise: Denoiser[C], x: Tensor, t: Tensor, schedule: Schedule, num_steps: int, cond: C, rng: Rng
) -> Tensor:
    """KL(q(x_s | x_t, x) || p(x_s | x_t)) of each example in bits, (B,), summed over its dimensions.

    t (B,) lies on the nodes 1/num_steps, ..., 1, and s is the node below it.
    """
    level_t, level_s = schedule(t), schedule(((t * num_steps).round() - 1) / num_steps)
    x_t = sample_bits(level_t.like(x).alpha * x, rng)
    p = (1 + posterior_mean_given_x(x, x_t, level_t, level_s)) / 2
    q = (1 + posterior_mean(denoise(x_t, t, cond).mean, x_t, level_t, level_s)) / 2
    q = q.clamp(1e-6, 1 - 1e-6)
    nats: Tensor = xlogy(p, p) - p * q.log() + xlogy(1 - p, 1 - p) - (1 - p) * torch.log1p(-q)
    return nats.reshape(len(x), -1).sum(1) / math.log(2)


@torch.no_grad()
def binomial_bound(denoise: Denoiser[C], x: Tensor, schedule: Schedule, num_steps: int, cond: C, rng: Rng) -> Tensor:
    """Estimate the bound on -log2 p(x) of each example, (B,), by one draw at every node; x_1 has no information."""
    nodes = torch.arange(1, num_steps + 1, dtype=torch.float32) / num_steps
    terms = [bound_term(denoise, x, t.to(x).expand(len(x)), schedule, num_steps, cond, rng) for t in nodes]
    return torch.stack(terms).sum(0)


@dataclass(frozen=True)
class BinomialLoss:
    """The bound by one term at a random node, an unbiased estimate of `binomial_bound`.

    Args:
        schedule: the schedule of the chain.
        num_steps: T, the length of the chain.
    """

    schedule: Schedule
    num_steps: int

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """The loss in bits of each example, (B,), of bits x (B, ...), -1 or +1; the network answers logits."""
        t = UniformTimes(self.num_steps)(len(x), rng).to(x)
        denoise = NetworkDenoiser(network, BinomialPrediction(), self.schedule)
        term = bound_term(denoise, x, t, self.schedule, self.num_steps, cond, rng)
        return self.num_steps * term


@dataclass(frozen=True)
class BinomialSampler(StatelessSampler):
    """Ancestral sampling of bits: draw x_s with its posterior mean."""

    schedule: Schedule
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: None, rng: Rng) -> Step[None]:
        """Draw x_s; Gaussian noise, at t = 1, is reduced to its signs."""
        x_t = torch.where(x < 0, -1.0, 1.0).to(x)
        mean = denoise(x_t, t, cond).mean
        return Step(sample_bits(posterior_mean(mean, x_t, self.schedule(t), self.schedule(s)), rng), mean, None)
