"""Laws that every sampler keeps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    SAMPLERS,
    AnnealedLangevinSampler,
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    DPMSolver2MSampler,
    EDMPrediction,
    EDMSchedule,
    EpsPrediction,
    Estimate,
    EulerSampler,
    FlowPrediction,
    FlowSchedule,
    HeunSampler,
    LearnedVariance,
    NetworkDenoiser,
    PLMSSampler,
    Sampler,
    Schedule,
    Target,
    ThresholdedSampler,
    UniPCSampler,
    VESchedule,
    VPSchedule,
    X0Prediction,
    guide,
    pure_noise,
    sample,
    seeded,
    threshold,
    trajectory,
    uniform_times,
)

from .closed_form import Mixture, gaussian, line, rows, stacked

every_sampler = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
NOISE = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@every_sampler
def test_sampler_with_a_seed_draws_the_same_in_any_batch(make: Any) -> None:
    sampler, denoise, times = make(FlowSchedule()), Mixture(FlowSchedule()), uniform_times(6)
    batch = sample(sampler, denoise, NOISE, times, None, seeded([5, 6, 7]))
    for k in range(3):
        alone = sample(sampler, denoise, NOISE[k : k + 1], times, None, seeded([5 + k]))
        torch.testing.assert_close(alone[0], batch[k], rtol=1e-12, atol=1e-12)


@every_sampler
def test_sampler_with_samples_at_different_times_equals_each_alone(make: Any) -> None:
    """Sample 0 is about to take its fourth step when 1 and 2 join at other times; nobody notices."""
    sampler, denoise = make(VPSchedule()), Mixture(VPSchedule())
    schedules = [torch.cat([line(1, 0.5, 3), line(0.4, 0, 3)]), line(1, 0, 4), line(0.8, 0, 4)]
    skipped = [3, 0, 1]

    def alone(k: int) -> list[Any]:
        return list(trajectory(sampler, denoise, NOISE[k : k + 1], schedules[k], None, seeded([k])))

    rngs, xs, states = seeded(range(3)), [], []
    for k in range(3):
        x, state = NOISE[k : k + 1], sampler.init(NOISE[k : k + 1])
        for step in range(skipped[k]):
            t, s = schedules[k][step : step + 1], schedules[k][step + 1 : step + 2]
            x, state = (taken := sampler.step(denoise, x, t, s, None, state, rngs[k : k + 1])).x, taken.state
        xs.append(x)
        states.append(state)

    x, state = torch.cat(xs), stacked(states)
    for step in range(3):
        t, s = (torch.stack([schedules[k][skipped[k] + step + ahead] for k in range(3)]).double() for ahead in (0, 1))
        taken = sampler.step(denoise, x, t, s, None, state, rngs)
        x, state = taken.x, taken.state
        for k in range(3):
            expected = alone(k)[skipped[k] + step]
            torch.testing.assert_close(x[k], expected.x[0], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(taken.mean[k], expected.mean[0], rtol=1e-10, atol=1e-12)


@every_sampler
def test_sampler_after_a_sample_leaves_continues_the_others_unchanged(make: Any) -> None:
    sampler, denoise, times = make(VPSchedule()), Mixture(VPSchedule()), line(1, 0, 5)
    all_steps = list(trajectory(sampler, denoise, NOISE, times, None, seeded([1, 2, 3])))
    rngs, x, state = seeded([1, 2, 3]), NOISE, sampler.init(NOISE)
    for i, (t, s) in enumerate(pairwise(times)):
        if i == 3:
            x, state, rngs = x[[0, 2]], rows(state, 0, 2), [rngs[0], rngs[2]]
        taken = sampler.step(denoise, x, t.expand(len(x)), s.expand(len(x)), None, state, rngs)
        x, state = taken.x, taken.state
    torch.testing.assert_close(x, all_steps[-1].x[[0, 2]], rtol=1e-10, atol=1e-12)


@every_sampler
def test_sampler_at_s_0_returns_the_mean(make: Any) -> None:
    for schedule in (FlowSchedule(), VPSchedule(), VESchedule(), EDMSchedule(), BetaSchedule.linear()):
        *_, last = trajectory(make(schedule), gaussian(schedule), NOISE, uniform_times(4), None, seeded([1, 2, 3]))
        assert torch.equal(last.x, last.mean)


@every_sampler
def test_sampler_in_a_single_step_returns_the_mean_at_t_1(make: Any) -> None:
    denoise = Mixture(FlowSchedule())
    drawn = sample(make(FlowSchedule()), denoise, NOISE, uniform_times(1), None, seeded([1, 2, 3]))
    torch.testing.assert_close(drawn, denoise(NOISE, torch.ones(3, dtype=torch.float64)).mean)


@every_sampler
def test_sampler_with_a_constant_estimate_ends_at_it(make: Any) -> None:
    answer = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 2, 2)
    drawn = sample(
        make(FlowSchedule()), lambda x, t, cond, /: Estimate(answer), NOISE, uniform_times(5), None, seeded([1, 2, 3])
    )
    assert torch.equal(drawn, answer)


@every_sampler
def test_sampler_with_signals_of_any_rank_writes_to_no_argument(make: Any) -> None:
    for shape in ((2,), (2, 3), (2, 3, 4), (2, 1, 2, 3, 2)):
        x, times = torch.randn(shape), uniform_times(3)
        before = x.clone()
        drawn = sample(make(FlowSchedule()), gaussian(FlowSchedule()), x, times, None, seeded([1, 2]))
        assert drawn.shape == shape and drawn.dtype == torch.float32 and drawn.isfinite().all()
        assert torch.equal(x, before) and torch.equal(times, uniform_times(3))


@every_sampler
@pytest.mark.parametrize("target", [EpsPrediction(), X0Prediction(), FlowPrediction(), EDMPrediction()], ids=repr)
def test_sampler_in_float32_with_an_imperfect_network_stays_within_the_threshold(make: Any, target: Target) -> None:
    for schedule in (
        FlowSchedule(),
        VPSchedule(),
        VESchedule(),
        EDMSchedule(),
        BetaSchedule.cosine(),
        BetaSchedule.linear(100),
    ):
        denoise = threshold(NetworkDenoiser(lambda x, t, cond: torch.tanh(x) + 0.1, target, schedule))
        x = pure_noise(schedule, torch.empty(2, 3), seeded([1, 2]))
        for num_steps in (1, 6):
            drawn = sample(make(schedule), denoise, x, uniform_times(num_steps), None, seeded([1, 2]))
            assert drawn.isfinite().all() and drawn.abs().max() <= 1


@every_sampler
def test_sampler_with_waiting_samples_moves_the_others_as_if_alone(make: Any) -> None:
    """Sample 0 goes from 0.5 to 0.2; samples 1 and 2 wait (s = t), one among noise and one at the data."""
    sampler, denoise = make(FlowSchedule()), gaussian(FlowSchedule())
    times = line(0.5, 0.2, 3)
    alone = list(trajectory(sampler, denoise, NOISE[:1], times, None, seeded([1])))
    x, state, rngs = NOISE, sampler.init(NOISE), seeded([1, 2, 3])
    for (now, then), expected in zip(pairwise(times.tolist()), alone, strict=True):
        t, s = (torch.tensor([time, 0.5, 0.0], dtype=torch.float64) for time in (now, then))
        step = sampler.step(denoise, x, t, s, None, state, rngs)
        x, state = step.x, step.state
        torch.testing.assert_close(x[0], expected.x[0], rtol=1e-10, atol=1e-12)
        assert x.isfinite().all()
    if sampler.order > 0:  # Langevin dynamics moves within a level
        torch.testing.assert_close(x[1], NOISE[1], rtol=1e-6, atol=1e-6)


def test_sample_with_times_per_sample_equals_each_alone() -> None:
    times = torch.stack([line(1, 0, 4), line(0.7, 0, 4), line(1, 0.2, 4)], dim=1)
    together = sample(UniPCSampler(FlowSchedule()), Mixture(FlowSchedule()), NOISE, times, None, seeded([1, 2, 3]))
    for k in range(3):
        alone = sample(
            UniPCSampler(FlowSchedule()), Mixture(FlowSchedule()), NOISE[[k]], times[:, k], None, seeded([k])
        )
        torch.testing.assert_close(alone[0], together[k])


def test_trajectory_before_the_first_next_evaluates_nothing_and_records_no_gradient() -> None:
    calls = []
    weight = torch.nn.Parameter(torch.ones(()))

    def network(x: Tensor, t: Tensor, cond: None, /) -> Tensor:
        calls.append(t)
        return weight * x

    steps = trajectory(
        EulerSampler(FlowSchedule()),
        NetworkDenoiser(network, X0Prediction(), FlowSchedule()),
        NOISE,
        line(1, 0, 9),
        None,
        [],
    )
    assert not calls
    first = next(steps)
    assert len(calls) == 1 and not first.x.requires_grad
    assert torch.is_grad_enabled()


def test_euler_on_every_schedule_equals_ddim_with_eta_0() -> None:
    for schedule in (FlowSchedule(), VPSchedule(), VESchedule(), EDMSchedule()):
        euler, ddim = (
            sample(make(schedule), Mixture(schedule), NOISE, line(1, 0, 9), None, [])
            for make in (EulerSampler, DDIMSampler)
        )
        torch.testing.assert_close(euler, ddim)


def test_ddpm_on_every_schedule_equals_ddim_with_eta_1() -> None:
    for schedule in (FlowSchedule(), VPSchedule(), VESchedule()):
        ddpm, ddim = (
            sample(sampler, Mixture(schedule), NOISE, line(1, 0, 9), None, seeded([1, 2, 3]))
            for sampler in (DDPMSampler(schedule), DDIMSampler(schedule, eta=1))
        )
        torch.testing.assert_close(ddpm, ddim)


def test_ddpm_step_on_a_chain_of_betas_is_equation_7() -> None:
    """One step k -> k - 1 of Ho et al. 2020, eq. 7, written with betas."""
    betas = torch.tensor((0.1, 0.2, 0.3), dtype=torch.float64)
    schedule = BetaSchedule(tuple(betas.tolist()))
    alpha_bar = torch.cumprod(1 - betas, 0)
    x, x_t, z = 0.4, 1.3, 2.0
    mean = (alpha_bar[1].sqrt() * betas[2] * x + (1 - betas[2]).sqrt() * (1 - alpha_bar[1]) * x_t) / (1 - alpha_bar[2])
    small, large = (1 - alpha_bar[1]) / (1 - alpha_bar[2]) * betas[2], betas[2]
    t, s = torch.tensor([1.0], dtype=torch.float64), torch.tensor([2 / 3], dtype=torch.float64)

    def knows(x_t: Tensor, t: Tensor, cond: None, /) -> Estimate:
        return Estimate(torch.full_like(x_t, x))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sumi.diffusion.ancestral.normal", lambda like, rng: torch.full_like(like, z))
        for variance, expected in ((0.0, small), (1.0, large)):
            start = torch.full((1,), x_t, dtype=torch.float64)
            x_s = DDPMSampler(schedule, variance).step(knows, start, t, s, None, None, []).x
            torch.testing.assert_close(x_s, (mean + expected.sqrt() * z)[None])


def test_ddpm_with_learned_variance_interpolates_between_beta_tilde_and_beta() -> None:
    """A share of 0 or 1 is DDPM's small or large variance, and a half their geometric mean."""
    schedule = BetaSchedule.linear(20)
    steps = {}
    for raw in (-1.0, 0.0, 1.0):
        network = lambda x, t, cond, raw=raw: torch.cat([0.1 * x, torch.full_like(x, raw)], 1)  # noqa: E731
        denoise = NetworkDenoiser(network, LearnedVariance(EpsPrediction()), schedule)
        steps[raw] = sample(DDPMSampler(schedule), denoise, NOISE, line(1, 0.5, 1), None, seeded([1, 2, 3]))
    plain = NetworkDenoiser(lambda x, t, cond: 0.1 * x, EpsPrediction(), schedule)
    for raw, variance in ((-1.0, 0.0), (0.0, 0.5), (1.0, 1.0)):
        fixed = sample(DDPMSampler(schedule, variance), plain, NOISE, line(1, 0.5, 1), None, seeded([1, 2, 3]))
        torch.testing.assert_close(steps[raw], fixed)


@pytest.mark.parametrize(
    "make", [DDIMSampler, EulerSampler, DPMSolver2MSampler, UniPCSampler, lambda s: DDIMSampler(s, 1.0)]
)
def test_sampler_on_vp_and_ve_follows_the_same_path(make: Any) -> None:
    """The same path in two frames: where logsnr is the same, x of VP is alpha times x of VE."""
    vp, ve = VPSchedule(), VESchedule(0.001, 200.0)
    logsnr = line(-8, 8, 10)
    x = NOISE * float(ve(ve.time(logsnr[:1])).sigma)
    denoise: dict[Schedule, Any] = {s: Mixture(s) for s in (vp, ve)}
    paths = {}
    for schedule in (vp, ve):
        alpha = schedule(schedule.time(logsnr)).alpha
        steps = trajectory(
            make(schedule), denoise[schedule], alpha[0] * x, schedule.time(logsnr), None, seeded([1, 2, 3])
        )
        paths[schedule] = [step.x / alpha[i + 1] for i, step in enumerate(steps)]
    for x_vp, x_ve in zip(paths[vp], paths[ve], strict=True):
        torch.testing.assert_close(x_vp, x_ve, rtol=1e-6, atol=1e-6)


def test_sampler_with_another_seed_changes_only_if_it_declares_itself_stochastic() -> None:
    for make in (*SAMPLERS.values(), lambda s: DDIMSampler(s, 0.5)):
        sampler: Sampler[Any] = make(FlowSchedule())
        one, other = (
            sample(sampler, gaussian(FlowSchedule()), NOISE, uniform_times(4), None, seeded(seeds))
            for seeds in ([1, 2, 3], [4, 5, 6])
        )
        assert torch.equal(one, other) != sampler.stochastic


def test_sampler_over_five_steps_evaluates_as_often_as_documented() -> None:
    for make, expected in (
        (EulerSampler, 5),
        (DPMSolver2MSampler, 5),
        (UniPCSampler, 5),
        (HeunSampler, 9),
        (AnnealedLangevinSampler, 25),
    ):
        calls = []

        def denoise(x: Tensor, t: Tensor, cond: None, /, calls: list[int] = calls) -> Estimate:
            calls.append(1)
            return Estimate(x)

        sample(make(FlowSchedule()), denoise, NOISE, uniform_times(5), None, seeded([1, 2, 3]))
        assert len(calls) == expected


def test_ddim_with_eta_outside_0_1_raises() -> None:
    with pytest.raises(ValueError, match="eta"):
        DDIMSampler(FlowSchedule(), eta=1.5)


def test_plms_sampler_with_samples_at_different_steps_equals_each_alone() -> None:
    schedule = VPSchedule()
    sampler, denoise, times = PLMSSampler(schedule), Mixture(schedule), line(0.9, 0.1, 5)
    alone = [list(trajectory(sampler, denoise, NOISE[k : k + 1], times, None, []))[-1].x for k in range(2)]
    first = sampler.step(denoise, NOISE[:1], times[0:1], times[1:2], None, sampler.init(NOISE[:1]), [])
    x, state = stacked([first.x, NOISE[1:2]]), stacked([first.state, sampler.init(NOISE[1:2])])
    for k in range(1, 5):  # sample 0 is a step ahead of sample 1
        step = sampler.step(denoise, x, times[[k, k - 1]], times[[k + 1, k]], None, state, [])
        x, state = step.x, step.state
    torch.testing.assert_close(x[:1], alone[0])
    last = sampler.step(denoise, x[1:], times[4:5], times[5:], None, rows(state, 1), [])
    torch.testing.assert_close(last.x, alone[1])


def test_thresholded_sampler_keeps_the_guided_mean_within_its_limit() -> None:
    schedule, far = FlowSchedule(), torch.full((2, 3), 9.0)
    denoise = guide(lambda x, t, cond, /: Estimate(cond), far / 3, 2.0)
    sampler = ThresholdedSampler(DDIMSampler(schedule), limit=5.0)
    step = sampler.step(denoise, torch.zeros(2, 3), torch.ones(2), torch.full((2,), 0.5), far, None, [])
    assert step.mean.tolist() == [[5.0] * 3] * 2
    assert (sampler.order, sampler.stochastic) == (1, False)
