"""Classifier-free guidance: one formula in every target, and no work where there is nothing to guide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    EpsPrediction,
    Estimate,
    FlowPrediction,
    FlowSchedule,
    NetworkDenoiser,
    ScorePrediction,
    Target,
    VPrediction,
    VPSchedule,
    X0Prediction,
    guide,
    guide_rows,
)
from sumi.diffusion.guidance import Interval

T = torch.tensor([0.1, 0.5, 0.9])
X_T = torch.linspace(-1, 1, 6).reshape(3, 2)


class Counting:
    """A denoiser whose mean is the condition, and that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x_t: Tensor, t: Tensor, cond: float, /) -> Estimate:
        self.calls += 1
        return Estimate(torch.full_like(x_t, cond), torch.full_like(x_t, cond))


def test_guide_with_scale_above_1_extrapolates_past_the_condition() -> None:
    for scale, expected in ((0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (3.0, 4.0)):
        estimate = guide(Counting(), 1.0, scale)(X_T, T, 2.0)
        torch.testing.assert_close(estimate.mean, torch.full_like(X_T, expected))


@pytest.mark.parametrize(
    "target", [EpsPrediction(), X0Prediction(), VPrediction(), FlowPrediction(), ScorePrediction()], ids=repr
)
def test_guide_of_the_mean_equals_guidance_of_any_target(target: Target) -> None:
    schedule = VPSchedule()

    def network(x_t: Tensor, t: Tensor, cond: float, /) -> Tensor:
        return torch.sin(x_t + cond) * cond

    def guided_network(x_t: Tensor, t: Tensor, cond: float, /) -> Tensor:
        return network(x_t, t, 0.0) + 2.5 * (network(x_t, t, cond) - network(x_t, t, 0.0))

    inside = NetworkDenoiser(guided_network, target, schedule)(X_T, T, 0.7)
    outside = guide(NetworkDenoiser(network, target, schedule), 0.0, 2.5)(X_T, T, 0.7)
    torch.testing.assert_close(outside.mean, inside.mean)


def test_guide_at_scale_1_or_outside_the_interval_evaluates_once() -> None:
    for scale, interval in ((1.0, (0.0, 1.0)), (4.0, (0.95, 1.0)), (torch.ones(3), (0.0, 1.0))):
        denoise = Counting()
        estimate = guide(denoise, 1.0, scale, interval)(X_T, T, 2.0)
        assert denoise.calls == 1 and (estimate.mean == 2).all()
    denoise = Counting()
    guide(denoise, 1.0, 4.0)(X_T, T, 2.0)
    assert denoise.calls == 2


def test_guide_with_scale_and_interval_per_sample_guides_each_by_its_own() -> None:
    scale = torch.tensor([3.0, 1.0, 2.0])
    estimate = guide(Counting(), 1.0, scale, (0.2, 1.0))(X_T, T, 2.0)
    assert estimate.mean[:, 0].tolist() == [2, 2, 3]


def test_guide_with_a_mixed_batch_leaves_unguided_samples_bit_identical() -> None:
    denoise = NetworkDenoiser(lambda x, t, cond: torch.cos(x * 3 + cond), FlowPrediction(), FlowSchedule())
    mixed = guide(denoise, 0.0, torch.tensor([1.0, 7.0, 1.0]))(X_T, T, 0.3)
    assert torch.equal(mixed.mean[::2], denoise(X_T, T, 0.3).mean[::2])


def test_guide_with_learned_variance_keeps_that_of_the_condition() -> None:
    var_interp = guide(Counting(), 1.0, 3.0)(X_T, T, 2.0).var_interp
    assert var_interp is not None and (var_interp == 2).all()


def test_guide_with_a_falling_interval_raises() -> None:
    with pytest.raises(ValueError, match="must rise"):
        guide(Counting(), 1.0, 3.0, (0.9, 0.2))


def test_guide_at_the_ends_of_its_interval_guides() -> None:
    t = torch.tensor([0.25, 0.5, 0.75])
    for interval, guided in (((0.25, 0.75), [4, 4, 4]), ((0.3, 0.75), [2, 4, 4]), ((0.25, 0.7), [4, 4, 2])):
        assert guide(Counting(), 1.0, 3.0, interval)(X_T, t, 2.0).mean[:, 0].tolist() == guided


def test_guide_with_interval_ends_per_sample_applies_each() -> None:
    low, high = torch.tensor([0.0, 0.6, 0.5]), torch.tensor([0.3, 1.0, 1.0])
    estimate = guide(Counting(), 1.0, 3.0, (low, high))(X_T, T, 2.0)
    assert estimate.mean[:, 0].tolist() == [4, 2, 4]
    with pytest.raises(ValueError, match="must rise"):
        guide(Counting(), 1.0, 3.0, (low, torch.tensor([0.3, 0.6, 1.0])))


@pytest.mark.parametrize("scale", [[1.0, 1.0, 1.0], [3.0, 1.0, 0.5], [2.0, 2.0, 2.0]])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.7), (torch.tensor([0.0, 0.6, 0.0]), torch.ones(3))])
def test_guide_rows_with_a_mixed_batch_equals_guide(scale: list[float], interval: Interval) -> None:
    asked: list[int] = []

    def denoise(x_t: Tensor, t: Tensor, cond: Tensor, /) -> Estimate:
        asked.append(len(x_t))
        mean = torch.sin(3 * x_t + cond) * t[:, None]
        return Estimate(mean, -mean)

    cond, null, scales = torch.linspace(0, 1, 6).reshape(3, 2), torch.zeros(3, 2), torch.tensor(scale)
    low, high = interval
    guided = int(((scales != 1) & (low <= T) & (high >= T)).sum())
    together = guide_rows(denoise, null, scales, interval)(X_T, T, cond)
    assert asked == [3 + guided]
    apart = guide(denoise, null, scales, interval)(X_T, T, cond)
    torch.testing.assert_close(together.mean, apart.mean)
    torch.testing.assert_close(together.var_interp, apart.var_interp)
