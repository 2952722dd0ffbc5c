"""Guidance: extrapolate from an unconditional or weaker estimate towards the conditional one.

    mean = mean(worse) + scale (mean(cond) - mean(worse))          worse: the null condition, or a weaker model
    mean = mean + scale (sigma^2 / alpha) grad log p(cond | x_t)   classifier guidance

By Bayes' rule the two agree where every model is exact: grad log p(cond | x_t) is the difference of two scores, and
mean = (x_t + sigma^2 score) / alpha. At a fixed x_t the targets are affine in the mean, so guiding the mean is guiding
eps, v or the score. Guidance wraps a denoiser into another, so samplers need no change.
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

# Below this alpha, x_t is nearly all noise, and the division by alpha is held to 1 / _MIN_ALPHA.
_MIN_ALPHA = 1e-3


def guide(denoise: Denoiser[C], null: C, scale: float | Tensor, interval: Interval = _ALWAYS) -> Denoiser[C]:
    """Wrap a denoiser in classifier-free guidance. Ho and Salimans 2022, arXiv 2207.12598, eq. 6 (scale = 1 + w).

    The learned variance is that of the conditional estimate, as in GLIDE (arXiv 2112.10741).

    Args:
        denoise: the denoiser to wrap.
        null: the condition that stands for no condition, as a batch of B.
        scale: one number, or one per sample (B,); 1 is unguided.
        interval: (low, high): guide where low <= t <= high; each one number, or one per sample (B,). Guiding only a
            middle interval is better and cheaper (Kynkaanniemi et al. 2024, arXiv 2404.07724): where no sample is
            guided, the second evaluation is skipped.

    Raises:
        ValueError: the interval does not rise.
    """
    return autoguide(denoise, lambda x_t, t, cond, /: denoise(x_t, t, null), scale, interval)


def autoguide(
    denoise: Denoiser[C], worse: Denoiser[C], scale: float | Tensor, interval: Interval = _ALWAYS
) -> Denoiser[C]:
    """Wrap a denoiser so that it is guided away from a worse one under the same condition.

    Karras et al. 2024, Guiding a Diffusion Model with a Bad Version of Itself, arXiv 2406.02507, sec. 4.

    Args:
        denoise: the denoiser to wrap.
        worse: a weaker denoiser on the same schedule.
        scale: as in `guide`.
        interval: as in `guide`.
    """
    strength_at = _strength(scale, 1.0, interval)

    def guided(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        strength = strength_at(t)
        estimate = denoise(x_t, t, cond)
        if bool((strength == 1).all()):
            return estimate
        # Written from mean(cond), so that an unguided sample of a mixed batch stays exactly as it is.
        excess = per_sample(strength - 1, x_t).to(x_t.dtype)
        away = estimate.mean - worse(x_t, t, cond).mean
        return Estimate(estimate.mean + excess * away, estimate.var_interp)

    return guided


def guide_rows(denoise: Denoiser[C], null: C, scale: Tensor, interval: Interval = _ALWAYS) -> Denoiser[C]:
    """Wrap a denoiser as `guide` does, with one evaluation of B + G rows, where G of the B samples are guided at t.

    One evaluation of many rows costs less than two of fewer, and samples of other requests in the batch that are not
    guided at their time cost nothing extra. cond and null are trees of tensors (`sumi.diffusion.batching`); scale
    (B,), the interval and the ValueError are those of `guide`.
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
    """Wrap a denoiser in classifier guidance: add the gradient of log p(cond | x_t).

    With a classifier trained on noisy signals: Dhariwal and Nichol 2021, arXiv 2105.05233, algorithm 2 (eps - sigma
    grad). With a noised CLIP, z_i(x_t) . z_t: Nichol et al. 2021, GLIDE, arXiv 2112.10741, sec. 2.4.

    Args:
        denoise: the denoiser to wrap.
        log_probability: (x_t, t, cond) to log p(cond | x_t) up to a constant, (B,), differentiable in x_t.
        schedule: the schedule of the denoiser.
        scale: one number, or one per sample (B,); 0 is unguided.
        interval: as in `guide`.
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
    """The scale as a function of t (B,): outside the interval it is `idle`, at which guidance has no effect."""
    low, high = interval
    if not bool(torch.as_tensor(low < high).all()):
        raise ValueError(f"the guidance interval must rise, not run from {low} to {high}")
    return lambda t: torch.where((t >= low) & (t <= high), torch.as_tensor(scale, dtype=t.dtype, device=t.device), idle)
