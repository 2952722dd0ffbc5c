"""Schedules: data at 0, noise at 1, falling logsnr between, and `time` the way back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sumi.diffusion import BetaSchedule, EDMSchedule, FlowSchedule, Level, Schedule, VESchedule, VPSchedule

from .closed_form import level_at, line

SCHEDULES: dict[str, Schedule] = {
    "flow": FlowSchedule(),
    "vp": VPSchedule(),
    "ve": VESchedule(),
    "edm": EDMSchedule(),
    "linear": BetaSchedule.linear(),
    "scaled_linear": BetaSchedule.scaled_linear(),
    "straight in logsnr": replace(BetaSchedule.scaled_linear(), between="logsnr"),
    "cosine": BetaSchedule.cosine(),
    "short": BetaSchedule.cosine(10),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@every_schedule
def test_schedule_at_t_0_is_the_data(schedule: Schedule) -> None:
    level = schedule(torch.zeros(2))
    assert level.alpha.tolist() == [1, 1]
    assert level.sigma.tolist() == [0, 0]


@every_schedule
def test_schedule_over_rising_t_has_falling_logsnr(schedule: Schedule) -> None:
    logsnr = schedule(line(0.001, 1, 2000)).logsnr
    assert (logsnr.diff() < 0).all()


@every_schedule
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
def test_schedule_time_of_its_logsnr_is_t(schedule: Schedule, dtype: torch.dtype, tolerance: float) -> None:
    t = line(0.01, 0.99, 500).to(dtype)
    torch.testing.assert_close(schedule.time(schedule(t).logsnr), t, atol=tolerance, rtol=0)


@given(logsnr=st.floats(-9, 9), name=st.sampled_from(["flow", "vp", "ve", "edm", "linear", "cosine"]))
def test_schedule_at_the_time_of_a_logsnr_has_that_logsnr(logsnr: float, name: str) -> None:
    schedule = SCHEDULES[name]
    wanted = torch.tensor([logsnr], dtype=torch.float64)
    noisiest = float(level_at(schedule, 1).logsnr)
    got = schedule(schedule.time(wanted)).logsnr
    torch.testing.assert_close(got, wanted.clamp_min(noisiest), atol=1e-6, rtol=0)


@every_schedule
def test_schedule_at_both_ends_in_float32_is_finite(schedule: Schedule) -> None:
    level = schedule(torch.tensor([0, 1e-12, 1e-7, 1 - 6e-8, 1]))
    assert torch.stack([*level, level.logsnr]).isfinite().all()
    times = schedule.time(torch.tensor([-math.inf, -1000, -90, 90, 1000, math.inf]))
    assert times.isfinite().all() and times.min() >= 0 and times.max() <= 1
    assert times.diff().max() <= 0


@pytest.mark.parametrize("name", ["vp", "linear", "scaled_linear", "cosine"])
def test_vp_and_beta_schedules_have_alpha2_plus_sigma2_1(name: str) -> None:
    alpha, sigma = SCHEDULES[name](line(0, 1, 1000))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))


def test_vp_schedule_is_the_integral_of_its_linear_beta() -> None:
    t = 0.6
    beta = 0.1 + (20 - 0.1) * (line(0, t, 100_000))
    integral = torch.trapezoid(beta, dx=t / 100_000)
    torch.testing.assert_close(level_at(VPSchedule(), t).alpha[0], torch.exp(-integral / 2))


def test_beta_schedule_at_its_nodes_is_the_chain() -> None:
    for schedule in (BetaSchedule.linear(), BetaSchedule.cosine(), BetaSchedule((0.1, 0.5, 0.9))):
        alpha_bar = torch.cumprod(1 - torch.tensor(schedule.betas, dtype=torch.float64), 0)
        nodes = torch.arange(1, schedule.num_steps + 1, dtype=torch.float64) / schedule.num_steps
        alpha, sigma = schedule(nodes)
        torch.testing.assert_close(alpha**2, alpha_bar)
        torch.testing.assert_close(sigma**2, 1 - alpha_bar)


def test_beta_schedule_tables_match_the_published_ones() -> None:
    linear, scaled, cosine = BetaSchedule.linear(), BetaSchedule.scaled_linear(), BetaSchedule.cosine()
    assert (linear.betas[0], linear.betas[-1]) == pytest.approx((1e-4, 0.02))
    assert (scaled.betas[0], scaled.betas[-1]) == pytest.approx((0.00085, 0.012))
    assert math.sqrt(scaled.betas[500]) - math.sqrt(scaled.betas[499]) == pytest.approx(
        (math.sqrt(0.012) - math.sqrt(0.00085)) / 999
    )
    assert cosine.betas[-1] == 0.999
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    middle = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / start
    assert float(level_at(cosine, 0.5).alpha) ** 2 == pytest.approx(middle)


def test_beta_schedule_linear_with_few_steps_ends_in_noise() -> None:
    assert float(level_at(BetaSchedule.linear(50), 1).alpha) < 0.02


def test_beta_schedule_between_nodes_is_continuous_and_monotone() -> None:
    schedule = BetaSchedule((0.1, 0.2, 0.4))
    alpha = schedule(line(0, 1, 3000)).alpha
    assert (alpha.diff() < 0).all() and float(alpha.diff().abs().max()) < 1e-3


def test_beta_schedule_between_nodes_in_logsnr_agrees_at_the_nodes_and_is_straight_between_them() -> None:
    chain = BetaSchedule.scaled_linear()
    straight = replace(chain, between="logsnr")
    nodes = line(0, 1, 1000)
    torch.testing.assert_close(straight(nodes).alpha, chain(nodes).alpha)
    pair, middle = straight(torch.tensor([0.002, 0.003], dtype=torch.float64)), level_at(straight, 0.0025)
    torch.testing.assert_close(middle.logsnr[0], pair.logsnr.mean())
    assert float(level_at(chain, 0.0025).logsnr) != pytest.approx(float(middle.logsnr), rel=1e-4)


def test_beta_schedule_with_zero_terminal_snr_ends_in_noise_and_keeps_its_first_level() -> None:
    chain = BetaSchedule.scaled_linear()
    rescaled = chain.zero_terminal_snr()
    assert float(level_at(rescaled, 1).alpha) == pytest.approx(1e-7, rel=0.01)
    torch.testing.assert_close(level_at(rescaled, 0.001), level_at(chain, 0.001))
    root, kept = rescaled(line(0.001, 0.999, 998)).alpha, chain(line(0.001, 0.999, 998)).alpha
    steps = root.diff() / kept.diff()  # one shift and one scale for all
    torch.testing.assert_close(steps, steps[0].expand_as(steps))


def test_ve_and_edm_schedules_at_known_times_have_the_papers_sigmas() -> None:
    ve, edm = VESchedule(0.01, 100.0), EDMSchedule(sigma_max=80, rho=7)
    assert float(level_at(ve, 0.5).sigma) == pytest.approx(1)
    assert float(level_at(ve, 1e-9).sigma) == pytest.approx(0.01)
    assert float(level_at(edm, 0.5).sigma) == pytest.approx(80 / 2**7)


def test_beta_schedule_with_betas_outside_0_1_raises() -> None:
    for betas in ((), (0.1, 1.0), (0.0, 0.1), (math.nan,)):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            BetaSchedule(betas)


def test_level_add_noise_with_signals_of_any_rank_is_inverted_by_eps() -> None:
    level = Level(torch.tensor([1.0, 0.6]), torch.tensor([0.0, 0.8]))
    for shape in ((2,), (2, 3), (2, 3, 4), (2, 1, 2, 3, 2)):
        x, eps = torch.randn(shape), torch.randn(shape)
        x_t = level.add_noise(x, eps)
        assert torch.equal(x_t[0], x[0])
        torch.testing.assert_close(x_t[1], 0.6 * x[1] + 0.8 * eps[1])
        torch.testing.assert_close(level.eps(x_t, x)[1], eps[1])
