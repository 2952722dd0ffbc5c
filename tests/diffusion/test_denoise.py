"""Denoisers: a network read by its target, and kept within range."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    EDMPrediction,
    EpsPrediction,
    Estimate,
    FlowPrediction,
    FlowSchedule,
    LearnedVariance,
    NetworkDenoiser,
    ScorePrediction,
    Target,
    VPrediction,
    X0Prediction,
    threshold,
)

from .closed_form import gaussian


@pytest.mark.parametrize(
    "target",
    [EpsPrediction(), X0Prediction(), VPrediction(), FlowPrediction(), ScorePrediction(), EDMPrediction()],
    ids=repr,
)
def test_network_denoiser_with_a_perfect_network_gives_the_posterior_mean_for_every_target(target: Target) -> None:
    schedule, ideal = FlowSchedule(), gaussian(FlowSchedule(), mean=0.3)
    x_t, t = torch.randn(5, 2, dtype=torch.float64), torch.linspace(0.1, 0.9, 5, dtype=torch.float64)

    def network(shown: Tensor, clock: Tensor, cond: object, /) -> Tensor:
        expected = target.scale_inputs(x_t, t, schedule(t))
        assert torch.equal(shown, expected[0]) and torch.equal(clock, expected[1])
        mean = ideal(x_t, t).mean
        return target.of(mean, schedule(t).eps(x_t, mean), schedule(t))

    estimate = NetworkDenoiser(network, target, schedule)(x_t, t, None)
    torch.testing.assert_close(estimate.mean, ideal(x_t, t).mean)
    assert estimate.var_interp is None


def test_network_denoiser_with_a_bf16_network_keeps_the_dtype_of_x_t() -> None:
    denoise = NetworkDenoiser(lambda x, t, cond: x.bfloat16(), VPrediction(), FlowSchedule())
    assert denoise(torch.randn(2, 3), torch.rand(2), None).mean.dtype == torch.float32


def test_network_denoiser_with_learned_variance_returns_var_interp() -> None:
    denoise = NetworkDenoiser(lambda x, t, cond: torch.cat([x, x], 1), LearnedVariance(X0Prediction()), FlowSchedule())
    estimate = denoise(torch.full((1, 2), 0.5), torch.tensor([0.5]), None)
    assert estimate.mean.tolist() == [[0.5, 0.5]] and estimate.var_interp is not None
    assert estimate.var_interp.tolist() == [[0.75, 0.75]]


def test_threshold_without_quantile_clamps_the_mean() -> None:
    mean = torch.tensor([[-3.0, -0.5, 0.5, 3.0]])
    estimate = threshold(lambda x_t, t, cond, /: Estimate(mean, mean))(mean, torch.ones(1), None)
    assert estimate.mean.tolist() == [[-1, -0.5, 0.5, 1]]
    assert estimate.var_interp is mean and mean[0, 0] == -3


def test_threshold_with_quantile_rescales_only_saturated_samples() -> None:
    saturated = torch.linspace(-4, 4, 201)
    modest = torch.linspace(-0.5, 0.5, 201)
    mean = torch.stack([saturated, modest]).reshape(2, 3, 67)
    denoise = threshold(lambda x_t, t, cond, /: Estimate(mean), quantile=0.5)
    kept = denoise(mean, torch.ones(2), None).mean
    torch.testing.assert_close(kept[0].flatten(), saturated.clamp(-2, 2) / 2, atol=0.02, rtol=0)
    assert torch.equal(kept[1], mean[1])
    widest = threshold(lambda x_t, t, cond, /: Estimate(mean), limit=2.0, quantile=1.0)(mean, torch.ones(2), None)
    torch.testing.assert_close(widest.mean[0], mean[0] / 2)


def test_threshold_with_quantile_interpolates_as_torch_does_and_stops_at_most() -> None:
    mean = 3 * torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    denoise = threshold(lambda x_t, t, cond, /: Estimate(mean), quantile=0.9, most=2.5)
    reach = mean.abs().quantile(0.9, dim=1, keepdim=True).clamp(1, 2.5)
    torch.testing.assert_close(denoise(mean, torch.ones(2), None).mean, mean.clamp(-reach, reach) / reach)


def test_threshold_with_a_quantile_outside_0_1_raises() -> None:
    with pytest.raises(ValueError, match="quantile"):
        threshold(gaussian(FlowSchedule()), quantile=1.5)
