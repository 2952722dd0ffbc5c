"""Samplers against the truth: their order is the one they declare, and what they draw is what there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    AnnealedLangevinSampler,
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    DPMSolver2MSampler,
    DPMSolver2MSDESampler,
    EDMSchedule,
    Estimate,
    EulerSampler,
    FlowSchedule,
    HeunSampler,
    PLMSSampler,
    Schedule,
    UniPCSampler,
    VPSchedule,
    logsnr_times,
    pure_noise,
    sample,
    trajectory,
    uniform_times,
)

from .closed_form import Mixture, gaussian, level_at, line, slope

NUM_STEPS = (32, 64, 128)


@pytest.mark.parametrize(
    "make", [DDIMSampler, EulerSampler, HeunSampler, DPMSolver2MSampler, UniPCSampler, PLMSSampler]
)
@pytest.mark.parametrize(
    "schedule", [FlowSchedule(), VPSchedule(), EDMSchedule(sigma_max=10.0)], ids=lambda s: type(s).__name__
)
def test_deterministic_sampler_on_two_humps_converges_at_its_declared_order(make: Any, schedule: Schedule) -> None:
    """Two humps, where the flow is known by its ranks, and steps that are even in logsnr."""
    sampler, denoise = make(schedule), Mixture(schedule)
    start, end = schedule.time(torch.tensor([-4.0, 4.0], dtype=torch.float64)).tolist()
    level = level_at(schedule, start)
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)[:, None] * torch.hypot(*level)
    truth = denoise.flow(x, start, end)
    errors = []
    for num_steps in NUM_STEPS:
        times = schedule.time(line(-4, 4, num_steps))
        x_s = sample(sampler, denoise, x, times, None, [])
        errors.append(float((x_s - truth).square().mean().sqrt()))
    assert slope(NUM_STEPS, errors) == pytest.approx(sampler.order, abs=0.3)
    assert errors[-1] < 0.1 * 0.1**sampler.order


@pytest.mark.parametrize(
    "make", [DDPMSampler, lambda s: DDPMSampler(s, 1.0), lambda s: DDIMSampler(s, 0.5), DPMSolver2MSDESampler]
)
@pytest.mark.parametrize("schedule", [FlowSchedule(), VPSchedule()], ids=lambda s: type(s).__name__)
def test_stochastic_sampler_on_gaussian_data_converges_at_its_declared_order(
    make: Any, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Gaussian data the sampler is linear in its noise, so its variance is a sum of squared responses.

    Sample 0 starts at one standard deviation and is kicked by nothing, sample k is kicked by 1 in step k alone.
    """
    sampler, denoise = make(schedule), gaussian(schedule, sd=0.5)
    start, end = level_at(schedule, 0.9), level_at(schedule, 0.1)
    truth = float(end.alpha**2 * 0.25 + end.sigma**2)
    kicks = 0

    def impulse(like: Tensor, rng: object) -> Tensor:
        nonlocal kicks
        kicks += 1
        return (torch.arange(len(like)) == kicks).to(like.dtype)

    for module in ("ancestral", "multistep"):
        monkeypatch.setattr(f"sumi.diffusion.{module}.normal", impulse)
    errors = []
    for num_steps in NUM_STEPS:
        kicks = 0
        x = torch.zeros(num_steps + 1, dtype=torch.float64)
        x[0] = torch.sqrt(start.alpha**2 * 0.25 + start.sigma**2)
        variance = sample(sampler, denoise, x, line(0.9, 0.1, num_steps), None, []).square().sum()
        errors.append(abs(float(variance) - truth))
    assert slope(NUM_STEPS, errors) == pytest.approx(sampler.order, abs=0.3)


@pytest.mark.parametrize(
    "sampler",
    [
        DDPMSampler(FlowSchedule()),
        DDPMSampler(VPSchedule(), 1.0),
        DDIMSampler(FlowSchedule(), 1.0),
        DDIMSampler(VPSchedule(), 0.5),
        DPMSolver2MSDESampler(FlowSchedule()),
        DPMSolver2MSampler(VPSchedule()),
    ],
    ids=lambda s: f"{type(s).__name__}-{type(s.schedule).__name__}",
)
def test_stochastic_sampler_on_two_humps_draws_the_data_distribution(sampler: Any) -> None:
    """From noise to data, on two humps: mean, variance, and the share of each hump."""
    generator = torch.Generator().manual_seed(0)
    schedule, data = sampler.schedule, Mixture(sampler.schedule)
    x = pure_noise(schedule, torch.empty(10_000, 1), generator)
    drawn = sample(sampler, data, x, logsnr_times(schedule, -7, 7)(140), None, generator)
    mean, variance = data.moments()
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.03)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.05)
    assert float((drawn < 0.15).double().mean()) == pytest.approx(
        float((data.draw(10_000, generator) < 0.15).double().mean()), abs=0.02
    )


def test_langevin_at_every_level_draws_the_marginal_of_that_level() -> None:
    """Its stationary variance is that of x_t, but for the 1 / (1 - step_size / 4) of its finite steps."""
    schedule, generator = EDMSchedule(sigma_max=3.0, rho=3.0), torch.Generator().manual_seed(0)
    data = gaussian(schedule, mean=0.5, sd=1.0)
    t = 0.6
    sigma2 = float(level_at(schedule, t).sigma) ** 2
    sampler = AnnealedLangevinSampler(schedule, num_rounds=150, step_size=0.2)
    x = pure_noise(schedule, torch.empty(20_000, 1), generator)
    drawn = sample(sampler, data, x, torch.tensor([1.0, 0.8, t]), None, generator)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.03)
    # x <- (1 - rate / 2) x + ..., with rate the step as the whole spread sees it.
    rate = 0.2 * sigma2 / (1 + sigma2)
    assert float(drawn.var()) == pytest.approx((1 + sigma2) / (1 - rate / 4), rel=0.03)


@pytest.mark.parametrize("schedule", [FlowSchedule(), VPSchedule(), BetaSchedule.cosine(1000)])
def test_annealed_langevin_where_alpha_grows_is_unbiased(schedule: Schedule) -> None:
    """On a flow its variance was 0.54 for 0.75: the signal stayed at the scale of an earlier level."""
    data, generator = Mixture(schedule), torch.Generator().manual_seed(0)
    x = pure_noise(schedule, torch.empty(4000, 1), generator)
    drawn = sample(AnnealedLangevinSampler(schedule), data, x, uniform_times(50), None, generator)
    mean, variance = data.moments()
    assert drawn.mean().item() == pytest.approx(mean, abs=0.05)
    assert drawn.var().item() == pytest.approx(variance, rel=0.06)


def test_annealed_langevin_on_two_humps_draws_the_data_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    schedule = EDMSchedule(sigma_max=5.0)
    data = Mixture(schedule)
    x = pure_noise(schedule, torch.empty(5_000, 1), generator)
    drawn = sample(AnnealedLangevinSampler(schedule, num_rounds=20), data, x, uniform_times(20), None, generator)
    mean, variance = data.moments()
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.1)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.15)


def test_unipc_with_a_quadratic_estimate_integrates_without_error() -> None:
    """An estimate that is quadratic in lambda = logsnr / 2 is integrated without error, however long the step."""
    schedule = FlowSchedule()

    def denoise(x: Tensor, t: Tensor, cond: None, /) -> Estimate:
        half = schedule(t).logsnr / 2
        return Estimate((1 + 2 * half - 3 * half**2).expand_as(x))

    times = schedule.time(2 * torch.tensor([-1.0, -0.4, 0.5, 1.7, 2.0], dtype=torch.float64))
    *_, before, last = trajectory(UniPCSampler(schedule), denoise, torch.zeros(1, dtype=torch.float64), times, None, [])
    begin, end = before.state, last.state  # where the last two steps began, corrected
    (start, stop), fine = torch.cat([begin.t, end.t]), 20_000
    path = torch.linspace(0, 1, fine + 1, dtype=torch.float64) * 1.2 + 0.5
    weighted = torch.exp(path - 1.7) * (1 + 2 * path - 3 * path**2)
    integral = torch.trapezoid(weighted, dx=1.2 / fine)
    expected = stop / start * begin.x + (1 - stop) * integral
    torch.testing.assert_close(end.x, expected, rtol=1e-7, atol=1e-7)
