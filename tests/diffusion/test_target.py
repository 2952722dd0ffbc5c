"""Targets: what is asked for determines x again, and one target is as good as another."""

from __future__ import annotations

import itertools

import pytest
import torch

from sumi.diffusion import (
    BetaSchedule,
    EDMPrediction,
    EDMSchedule,
    EpsPrediction,
    FlowPrediction,
    FlowSchedule,
    LearnedVariance,
    Level,
    Schedule,
    ScorePrediction,
    Target,
    VESchedule,
    VPrediction,
    VPSchedule,
    WholeSteps,
    X0Prediction,
)

from .closed_form import line

SCHEDULES: tuple[Schedule, ...] = (FlowSchedule(), VPSchedule(), VESchedule(), EDMSchedule(), BetaSchedule.cosine())
TARGETS: dict[str, Target] = {
    "eps": EpsPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "velocity": FlowPrediction(),
    "score": ScorePrediction(),
    "edm": EDMPrediction(),
    "learned": LearnedVariance(EpsPrediction()),
}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def signals(count: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, count, *shape, generator=generator, dtype=torch.float64)
    return x, eps


@every_target
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 3)])
def test_target_mean_of_the_right_answer_is_x(target: Target, schedule: Schedule, shape: tuple[int, ...]) -> None:
    level = schedule(line(0.02, 0.98, 40))
    x, eps = signals(41, *shape)
    x_t = level.add_noise(x, eps)
    torch.testing.assert_close(target.mean(target.of(x, eps, level), x_t, level), x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(TARGETS, 2)))
def test_target_answers_convert_into_each_other(one: str, other: str) -> None:
    """The mean read from any target's answer asks every other target for the same thing."""
    level = VPSchedule()(line(0.1, 0.9, 20))
    x, eps = signals(21, 4)
    x_t = level.add_noise(x, eps)
    answer = TARGETS[one].of(x, eps, level)
    mean = TARGETS[one].mean(answer, x_t, level)
    again = TARGETS[other].of(mean, level.eps(x_t, mean), level)
    torch.testing.assert_close(again, TARGETS[other].of(x, eps, level))


@every_target
def test_target_gain_is_the_error_of_the_answer_per_error_of_the_mean(target: Target) -> None:
    level = FlowSchedule()(line(0.1, 0.9, 20))
    x, eps = signals(21)
    x_t = level.add_noise(x, eps)
    wrong = x + 0.3
    error = target.of(wrong, level.eps(x_t, wrong), level) - target.of(x, eps, level)
    torch.testing.assert_close(error, 0.3 * target.gain(level))


@every_target
def test_target_at_both_ends_in_float32_is_finite(target: Target) -> None:
    for schedule in SCHEDULES:
        t = torch.tensor([0.0, 1e-7, 1.0])
        level = schedule(t)
        x, eps = torch.ones(3, 2), -torch.ones(3, 2)
        answer = target.of(x, eps, level)
        shown, clock = target.scale_inputs(level.add_noise(x, eps), t, level)
        mean = target.mean(answer, level.add_noise(x, eps), level)
        assert all(value.isfinite().all() for value in (answer, mean, target.gain(level), shown, clock))


def test_target_at_a_known_level_gives_the_known_answer() -> None:
    level = Level(torch.tensor([0.6]), torch.tensor([0.8]))
    x, eps = torch.tensor([2.0]), torch.tensor([-1.0])
    expected = {"eps": -1, "x0": 2, "v": 0.6 * -1 - 0.8 * 2, "velocity": -3, "score": 1 / 0.8}
    for name, value in expected.items():
        assert float(TARGETS[name].of(x, eps, level)) == pytest.approx(value)


def test_edm_prediction_on_ve_has_the_paper_s_preconditioning() -> None:
    """c_skip, c_out, c_in and c_noise of Karras et al. 2022, table 1, where alpha is 1."""
    sigma = torch.tensor([0.002, 0.1, 1.0, 80.0], dtype=torch.float64)
    level, data = Level(torch.ones_like(sigma), sigma), 0.5
    x_t, answer = torch.full((4,), 3.0, dtype=torch.float64), torch.full((4,), 2.0, dtype=torch.float64)
    c_skip = data**2 / (sigma**2 + data**2)
    c_out = sigma * data / torch.sqrt(sigma**2 + data**2)
    target = EDMPrediction(data)
    torch.testing.assert_close(target.mean(answer, x_t, level), c_skip * x_t + c_out * answer)
    shown, clock = target.scale_inputs(x_t, torch.zeros(4), level)
    torch.testing.assert_close(shown, x_t / torch.sqrt(sigma**2 + data**2))
    torch.testing.assert_close(clock, sigma.log() / 4)


def test_edm_prediction_at_every_level_has_inputs_and_answers_of_unit_variance() -> None:
    level = FlowSchedule()(torch.tensor([0.01, 0.3, 0.7, 0.99]))
    x, eps = torch.randn(2, 4, 200_000, generator=torch.Generator().manual_seed(0))
    target = EDMPrediction(0.5)
    answer = target.of(0.5 * x, eps, level)
    shown, _ = target.scale_inputs(level.add_noise(0.5 * x, eps), torch.zeros(4), level)
    torch.testing.assert_close(answer.std(1), torch.ones(4), atol=0.01, rtol=0)
    torch.testing.assert_close(shown.std(1), torch.ones(4), atol=0.01, rtol=0)


def test_edm_prediction_with_unit_data_on_vp_is_minus_v() -> None:
    level = VPSchedule()(line(0.1, 1, 9))
    x, eps = signals(10, 3)
    torch.testing.assert_close(EDMPrediction(1.0).of(x, eps, level), -VPrediction().of(x, eps, level))


def test_learned_variance_split_maps_the_second_half_to_0_1() -> None:
    out = torch.tensor([[0.5, 0.25, -1.0, 1.0]])
    answer, share = LearnedVariance(EpsPrediction()).split(out)
    assert share is not None
    assert answer.tolist() == [[0.5, 0.25]] and share.tolist() == [[0, 1]]
    assert VPrediction().split(out) == (out, None)


def test_whole_steps_shows_the_nearest_step_and_leaves_the_rest_to_its_target() -> None:
    target, level = WholeSteps(LearnedVariance(EpsPrediction()), 10), Level(torch.ones(1), torch.ones(1))
    x, t = torch.zeros(1, 2), torch.tensor([0.34])
    assert target.scale_inputs(x, t, level)[1].tolist() == pytest.approx([0.3])
    assert target.weights(level) == EpsPrediction().weights(level)
    answer, var_interp = target.split(torch.tensor([[1.0, 2.0, -1.0, 1.0]]))
    assert answer.tolist() == [[1, 2]] and var_interp is not None and var_interp.tolist() == [[0, 1]]
