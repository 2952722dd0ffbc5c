"""Inversion is known exactly on Gaussians and mixtures: it ends where the probability flow does, and comes back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DDIMInversion,
    EDMSchedule,
    EpsPrediction,
    EulerSampler,
    FlowSchedule,
    NetworkDenoiser,
    Schedule,
    VPSchedule,
    invert,
    sample,
    trajectory,
    uniform_times,
)

from .closed_form import Mixture, gaussian, slope

SCHEDULES = [FlowSchedule(), VPSchedule(), EDMSchedule(sigma_max=10.0)]
X = torch.linspace(-1.2, 1.2, 13, dtype=torch.float64)[:, None]


def inverted(schedule: Schedule, denoise: Mixture, x: Tensor, num_steps: int, rounds: int) -> Tensor:
    for step in invert(schedule, denoise, x, uniform_times(num_steps).double(), None, rounds):
        x = step.x
    return x


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_invert_then_euler_returns_the_signal(schedule: Schedule) -> None:
    denoise = Mixture(schedule)
    x_1 = inverted(schedule, denoise, X, 24, rounds=60)
    again = sample(EulerSampler(schedule), denoise, x_1, uniform_times(24).double(), None, [])
    assert torch.allclose(again, X, atol=1e-6), "though the steps are long"


def test_invert_with_more_rounds_comes_closer() -> None:
    denoise, errors = Mixture(FlowSchedule()), []
    for rounds in (1, 2, 4, 8):
        x_1 = inverted(FlowSchedule(), denoise, X, 12, rounds)
        again = sample(EulerSampler(FlowSchedule()), denoise, x_1, uniform_times(12).double(), None, [])
        errors.append(float((again - X).abs().max()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.05 * errors[0]


def test_invert_on_gaussian_data_gives_the_standardised_signal() -> None:
    """On Flow the probability flow scales N(mean, sd^2) to N(0, 1), so x leads to (x - mean) / sd."""
    errors, steps = [], (64, 128, 256)
    for num_steps in steps:
        x_1 = inverted(FlowSchedule(), gaussian(FlowSchedule(), mean=0.3, sd=0.5), X, num_steps, rounds=20)
        errors.append(float((x_1 - (X - 0.3) / 0.5).abs().max()))
    assert errors[-1] < 0.03
    assert slope(steps, errors) == pytest.approx(1, abs=0.3), "its order is Euler's"


def test_ddim_inversion_without_rounds_raises() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        next(invert(FlowSchedule(), gaussian(FlowSchedule()), X, uniform_times(2), None, 0))


def test_ddim_inversion_by_noise_follows_a_network_whose_mean_is_divided_by_alpha() -> None:
    schedule = BetaSchedule.cosine()
    denoise = NetworkDenoiser(lambda x, t, cond: 0.2 + 0.1 * x.sin(), EpsPrediction(), schedule)
    times = uniform_times(10).double()[1:]  # from the next to last step on: at the end alpha is nearly 0
    apart = []
    for by_noise in (True, False):
        x = X
        for step in trajectory(DDIMInversion(schedule, 4, by_noise), denoise, x, times.flip(0), None, []):
            x = step.x
        again = sample(EulerSampler(schedule), denoise, x, times, None, [])
        apart.append(float((again - X).abs().max()))
    assert apart[0] < 1e-4 and apart[1] > 10 * apart[0]
