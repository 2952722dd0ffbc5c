"""Guidance: walk from what is likely anyway towards, and past, what the condition says.

    mean = mean(worse) + scale (mean(cond) - mean(worse))          worse: told nothing, or simply a weaker model
    mean = mean + scale (sigma^2 / alpha) grad log p(cond | x_t)   something that can judge noisy signals pulls

By Bayes' rule these agree where every model is exact: grad log p(cond | x_t) is the difference of two scores, and
mean = (x_t + sigma^2 score) / alpha. At a fixed x_t the targets are affine images of the mean, so guiding the mean
is guiding eps, v or the score. Guidance wraps a denoiser; samplers never know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from sumi.diffusion.batching import cat_rows, pick_rows, split_rows
from sumi.diffusion.denoise import Denoiser, Estimate
from sumi.diffusion.schedule import Schedule, per_sample

C = TypeVar("C")
Interval = tuple[float | Tensor, float | Tensor]

_ALWAYS: Interval = (0.0, 1.0)

# Below this the signal has drowned and nobody can judge it; what a classifier still says there is not believed.
_MIN_ALPHA = 1e-3


def guide(denoise: Denoiser[C], null: C, scale: float | Tensor, interval: Interval = _ALWAYS) -> Denoiser[C]:
    """The same denoiser, guided away from `null` where low <= t <= high: classifier-free guidance.

    `scale` and both ends of `interval` are one number or one per sample, shape (B,); scale 1 is unguided. Where no
    sample is guided the second evaluation is skipped; guiding only a middle interval is better as well as cheaper
    (Kynkaanniemi et al. 2024, arXiv 2404.07724). A learned variance is the condition's own, as in GLIDE (arXiv
    2112.10741). Ho and Salimans 2022, arXiv 2207.12598, eq. 6 (scale = 1 + w).
    """
    return autoguide(denoise, lambda x_t, t, cond, /: denoise(x_t, t, null), scale, interval)


def autoguide(
    denoise: Denoiser[C], worse: Denoiser[C], scale: float | Tensor, interval: Interval = _ALWAYS
) -> Denoiser[C]:
    """The same denoiser, guided away from a worse one that is told the same: what it does badly, more so.

    Karras et al. 2024, Guiding a Diffusion Model with a Bad Version of Itself, arXiv 2406.02507, sec. 4.
    """
    strength_at = _strength(scale, 1.0, interval)

    def guided(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        strength = strength_at(t)
        estimate = denoise(x_t, t, cond)
        if bool((strength == 1).all()):
            return estimate
        # Written from mean(cond), so that an unguided sample of a mixed batch is left exactly as it was.
        excess = per_sample(strength - 1, x_t).to(x_t.dtype)
        away = estimate.mean - worse(x_t, t, cond).mean
        return Estimate(estimate.mean + excess * away, estimate.var_interp)

    return guided


def guide_rows(denoise: Denoiser[C], null: C, scale: Tensor, interval: Interval = _ALWAYS) -> Denoiser[C]:
    """What `guide` gives, by one evaluation of B + G rows, where G of the B samples are guided at their time.

    cond and null are trees of tensors (`sumi.diffusion.batching`). One evaluation of many rows costs less than two of
    fewer, and a batch of strangers holds samples that are not guided, or not at this time: nothing is spent on those.
    """
    strength_at = _strength(scale, 1.0, interval)

    def guided(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        strength = strength_at(t)
        rows = (strength != 1).nonzero()[:, 0]
        if not len(rows):
            return denoise(x_t, t, cond)
        counts = [len(x_t), len(rows)]
        together = cat_rows([cond, pick_rows(null, rows)], counts)
        estimate = denoise(torch.cat([x_t, x_t[rows]]), torch.cat([t, t[rows]]), together)
        mean, worse = split_rows(estimate.mean, counts)
        excess = per_sample(strength[rows] - 1, x_t).to(x_t.dtype)
        var_interp = None if estimate.var_interp is None else estimate.var_interp[: len(x_t)]
        return Estimate(mean.index_add(0, rows, excess * (mean[rows] - worse)), var_interp)

    return guided


def classifier_guide(
    denoise: Denoiser[C],
    log_probability: Callable[[Tensor, Tensor, C], Tensor],
    schedule: Schedule,
    scale: float | Tensor = 1.0,
    interval: Interval = _ALWAYS,
) -> Denoiser[C]:
    """The same denoiser, pulled up the gradient of log p(cond | x_t), which log_probability(x_t, t, cond) gives.

    It returns one value a sample, (B,), up to a constant. A classifier trained on noisy signals: Dhariwal and
    Nichol 2021, arXiv 2105.05233, algorithm 2 (eps - sigma grad). A noised CLIP, z_i(x_t) . z_t: Nichol et al. 2021,
    GLIDE, arXiv 2112.10741, sec. 2.4. `scale` as in `guide`, but 0 is unguided. Needs autograd.
    """
    strength_at = _strength(scale, 0.0, interval)

    def guided(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        strength = strength_at(t)
        estimate = denoise(x_t, t, cond)
        if bool((strength == 0).all()):
            return estimate
        with torch.enable_grad():
            noisy = x_t.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_probability(noisy, t, cond).sum(), noisy)
        level = schedule(t)
        pull = strength * level.sigma**2 / level.alpha.clamp_min(_MIN_ALPHA)
        return Estimate(estimate.mean + per_sample(pull, x_t).to(x_t.dtype) * gradient, estimate.var_interp)

    return guided


def _strength(scale: float | Tensor, idle: float, interval: Interval) -> Callable[[Tensor], Tensor]:
    """The scale at each t: `idle`, which does nothing, outside the interval."""
    low, high = interval
    if not bool(torch.as_tensor(low < high).all()):
        raise ValueError(f"the guidance interval must rise, not run from {low} to {high}")
    return lambda t: torch.where((t >= low) & (t <= high), torch.as_tensor(scale, dtype=t.dtype, device=t.device), idle)
