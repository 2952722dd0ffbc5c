"""The loss: nothing for a perfect network, and the same error in whatever units it is measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DenoisingLoss,
    EDMPrediction,
    EDMSchedule,
    EpsPrediction,
    FlowPrediction,
    FlowSchedule,
    LearnedVariance,
    LogitNormalTimes,
    NetworkDenoiser,
    RegressionLoss,
    ScorePrediction,
    Target,
    UniformTimes,
    VariationalBound,
    VESchedule,
    VPrediction,
    VPSchedule,
    X0Prediction,
    min_snr_weight,
    sigmoid_weight,
    snr_weight,
)

from .closed_form import gaussian, level_at

TARGETS: dict[str, Target] = {
    "eps": EpsPrediction(),
    "x0": X0Prediction(),
    "v": VPrediction(),
    "velocity": FlowPrediction(),
    "score": ScorePrediction(),
    "edm": EDMPrediction(),
}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
MIDDLE = LogitNormalTimes(0.0, 0.8)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_denoising_loss_by_default_is_the_mean_squared_error_of_each_example() -> None:
    x = torch.randn(5, 2, 3)
    loss = DenoisingLoss(X0Prediction(), FlowSchedule())(lambda x_t, t, cond: cond, x, torch.zeros_like(x), rng())
    torch.testing.assert_close(loss, x.square().mean((1, 2)))
    assert DenoisingLoss(EpsPrediction(), FlowSchedule())(lambda x_t, t, cond: x_t, x[:, 0, 0], None, rng()).shape == (
        5,
    )


def test_denoising_loss_with_the_same_generator_is_the_same() -> None:
    x, loss = torch.randn(4, 3), DenoisingLoss(VPrediction(), VPSchedule())
    one, two = (loss(lambda x_t, t, cond: x_t, x, None, rng()) for _ in range(2))
    assert torch.equal(one, two)


def answers_at(target: Target, t: float, **options: Any) -> tuple[Tensor, Tensor]:
    """(loss, logsnr) at one time of a network of VP that is wrong by one in its mean."""
    x = torch.zeros(3, 4, dtype=torch.float64)
    schedule = VPSchedule()

    def network(shown: Tensor, clock: Tensor, cond: object, /) -> Tensor:
        level = schedule(torch.full((3,), t, dtype=torch.float64))
        x_t = shown if not isinstance(target, EDMPrediction) else shown * target._std(level)[:, None]
        return target.of(x + 1, level.eps(x_t, x + 1), level)

    loss = DenoisingLoss(target, schedule, lambda count, rng: torch.full((count,), t), **options)
    return loss(network, x, None, rng()), level_at(schedule, t).logsnr


@every_target
@pytest.mark.parametrize("measure", [FlowPrediction(), EpsPrediction(), X0Prediction()], ids=repr)
def test_denoising_loss_with_another_measure_scales_the_error_by_its_gain(target: Target, measure: Target) -> None:
    """A network wrong by one in its mean is wrong by the measure's gain, whatever it answers."""
    t = 0.4
    loss, _ = answers_at(target, t, measure=measure)
    gain = measure.gain(level_at(VPSchedule(), t))
    torch.testing.assert_close(loss, gain.square().expand(3), rtol=1e-5, atol=1e-8)


def test_denoising_loss_of_x0_measured_in_velocity_is_jit_s() -> None:
    """(x - mean) / max(t, 0.05) on Flow: Li and He 2025, where t runs the other way."""
    x = torch.randn(4, 6)
    for t in (0.7, 0.2, 0.05):
        loss = DenoisingLoss(
            X0Prediction(), FlowSchedule(), lambda count, rng, t=t: torch.full((count,), t), measure=FlowPrediction()
        )
        wrong = loss(lambda x_t, t, cond: x + 0.5, x, None, rng())
        torch.testing.assert_close(wrong, torch.full((4,), (0.5 / t) ** 2))
    nearly = DenoisingLoss(
        X0Prediction(), FlowSchedule(), lambda count, rng: torch.zeros(count), measure=FlowPrediction()
    )
    assert nearly(lambda x_t, t, cond: x + 0.5, x, None, rng()).max() < (0.5 / 0.04) ** 2


@every_target
def test_denoising_loss_with_a_weighting_is_the_same_in_every_target(target: Target) -> None:
    for weighting in (snr_weight, min_snr_weight(5.0), sigmoid_weight(-1.0)):
        for t in (0.05, 0.4, 0.9):
            loss, logsnr = answers_at(target, t, weighting=weighting)
            torch.testing.assert_close(loss, weighting(logsnr).expand(3), rtol=1e-4, atol=1e-8)


def test_min_snr_weight_at_known_levels_is_the_paper_s() -> None:
    """min(SNR, g) / SNR on eps and min(SNR, g) / (SNR + 1) on v: Hang et al. 2023."""
    level = VPSchedule()(torch.linspace(0.05, 0.95, 9, dtype=torch.float64))
    snr, weight = level.logsnr.exp(), min_snr_weight(5.0)(level.logsnr)
    torch.testing.assert_close(weight / EpsPrediction().gain(level) ** 2, snr.clamp(max=5) / snr)
    torch.testing.assert_close(weight / VPrediction().gain(level) ** 2, snr.clamp(max=5) / (snr + 1))


@pytest.mark.parametrize("bias", [-1.0, 0.0, 2.5])
def test_sigmoid_weight_at_known_levels_is_the_paper_s(bias: float) -> None:
    """sigmoid(bias - logsnr) on eps: all on noisy signals, nothing on clean ones (Hoogeboom et al. 2024)."""
    level = VPSchedule()(torch.linspace(0.02, 0.98, 9, dtype=torch.float64))
    weight = sigmoid_weight(bias)(level.logsnr) / EpsPrediction().gain(level) ** 2
    torch.testing.assert_close(weight, 1 / (1 + torch.exp(level.logsnr - bias)))
    assert (weight.diff() > 0).all(), "the noisier, the more"


def test_snr_weight_on_the_score_equals_the_eps_loss() -> None:
    """Which is NCSN's weight, sigma squared (Song and Ermon 2019, eq. 6)."""
    x = torch.randn(8, 3)
    score = DenoisingLoss(ScorePrediction(), VESchedule(), weighting=snr_weight)
    loss = score(lambda x_t, t, cond: torch.zeros_like(x_t), x, None, rng())
    eps = DenoisingLoss(EpsPrediction(), VESchedule())(lambda x_t, t, cond: torch.zeros_like(x_t), x, None, rng())
    torch.testing.assert_close(loss, eps)


@every_target
def test_denoising_loss_at_both_ends_in_float32_is_finite(target: Target) -> None:
    for schedule in (FlowSchedule(), VPSchedule(), VESchedule(), EDMSchedule(), BetaSchedule.cosine()):
        ends = lambda count, rng: torch.linspace(0, 1, count)  # noqa: E731
        for weighting in (None, snr_weight, min_snr_weight(), sigmoid_weight()):
            loss = DenoisingLoss(target, schedule, ends, weighting=weighting)
            assert loss(lambda x_t, t, cond: torch.tanh(x_t), torch.ones(3, 2), None, rng()).isfinite().all()


@pytest.mark.parametrize(
    "target", [EpsPrediction(), X0Prediction(), VPrediction(), FlowPrediction(), EDMPrediction()], ids=repr
)
def test_denoising_loss_at_its_minimum_is_the_posterior_mean(target: Target) -> None:
    """At one level on Gaussian data, the best linear answer (least squares) is the closed-form denoiser."""
    schedule, t = FlowSchedule(), 0.6
    data, generator = gaussian(schedule, mean=0.4, sd=0.5), rng()
    x = data.draw(100_000, generator).double()
    seen: list[Tensor] = []
    loss = DenoisingLoss(target, schedule, lambda count, rng: torch.full((count,), t))
    weight = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)

    def network(shown: Tensor, clock: Tensor, cond: object, /) -> Tensor:
        seen[:] = [torch.cat([shown, torch.ones_like(shown)], 1)]
        return seen[0] @ weight

    # A quadratic: one Newton step from anywhere is its minimum.
    (slope,) = torch.autograd.grad(loss(network, x, None, generator).mean(), weight)
    hessian = 2 * seen[0].T @ seen[0] / len(x)
    fitted = weight - torch.linalg.solve(hessian, slope)
    denoise = NetworkDenoiser(
        lambda shown, clock, cond: torch.cat([shown, torch.ones_like(shown)], 1) @ fitted, target, schedule
    )
    x_t, times = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None], torch.full((5,), t, dtype=torch.float64)
    torch.testing.assert_close(denoise(x_t, times, None).mean, data(x_t, times).mean, atol=0.01, rtol=0)


CHAIN = BetaSchedule.linear(20)
BOUND = VariationalBound(num_steps=20, weight=1 / 20)


def bound_at(k: int, gap: float, share: float | Tensor) -> Tensor:
    """L_t in bits at x_k where the mean is off by `gap`, for a share (or several)."""
    share = torch.as_tensor(share, dtype=torch.float64).reshape(-1, 1)
    x = torch.full_like(share, 0.2)
    t = torch.full((len(share),), k / 20, dtype=torch.float64)
    return BOUND(x, x + gap, share, t, CHAIN)


def test_variational_bound_at_inner_steps_is_the_kl_of_two_gaussians() -> None:
    k, gap, share = 7, 0.3, 0.4
    betas = torch.tensor(CHAIN.betas, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - betas, 0)
    beta, before, now = betas[k - 1], alpha_bar[k - 2], alpha_bar[k - 1]
    tilde = beta * (1 - before) / (1 - now)
    variance = torch.exp(share * beta.log() + (1 - share) * tilde.log())
    step = before.sqrt() * beta / (1 - now) * gap
    one = torch.distributions.Normal(torch.zeros(1, dtype=torch.float64), tilde.sqrt())
    other = torch.distributions.Normal(step, variance.sqrt())
    nats = torch.distributions.kl_divergence(one, other)
    torch.testing.assert_close(bound_at(k, gap, share), nats / math.log(2))


def test_variational_bound_is_smallest_where_the_variance_fits_the_error() -> None:
    shares = torch.linspace(0, 1, 11)
    assert int(bound_at(3, 0.0, shares).argmin()) == 0
    assert int(bound_at(3, 3.0, shares).argmin()) == 10


def test_variational_bound_at_the_last_step_has_bins_of_total_mass_1() -> None:
    values = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
    bound = VariationalBound(num_steps=20, weight=1 / 20)
    t = torch.full((256,), 1 / 20, dtype=torch.float64)
    bits = bound(values, torch.full_like(values, 0.31), torch.full_like(values, 0.5), t, CHAIN)
    assert float(torch.exp(-bits * math.log(2)).sum()) == pytest.approx(1, abs=1e-6)


def test_denoising_loss_with_a_bound_trains_the_variance_and_not_the_mean() -> None:
    target = LearnedVariance(EpsPrediction())
    loss = DenoisingLoss(target, CHAIN, UniformTimes(20), bound=BOUND)
    plain = DenoisingLoss(target, CHAIN, UniformTimes(20))
    x = torch.randn(40, 2)
    answer, raw = (torch.zeros(40, 2, requires_grad=True) for _ in range(2))

    def network(x_t: Tensor, t: Tensor, cond: object, /) -> Tensor:
        return torch.cat([answer, raw], 1)

    grads = [torch.autograd.grad(f(network, x, None, rng()).sum(), answer)[0] for f in (loss, plain)]
    torch.testing.assert_close(*grads)
    (taught,) = torch.autograd.grad(loss(network, x, None, rng()).sum(), raw)
    assert taught.isfinite().all() and (taught != 0).any()


def test_denoising_loss_with_a_bound_but_no_learned_variance_raises() -> None:
    with pytest.raises(ValueError, match="learned variance"):
        DenoisingLoss(EpsPrediction(), CHAIN, bound=BOUND)(lambda x_t, t, cond: x_t, torch.ones(2, 2), None, rng())


def test_regression_loss_of_known_errors_is_huber_of_pixels_and_neighbour_differences() -> None:
    ramp = torch.linspace(-1, 1, 8).expand(1, 2, 8, 8)
    loss = RegressionLoss(edges=0.5, delta=0.5)
    shifted = loss(lambda x, t, cond: cond, ramp, ramp + 0.25, rng())
    torch.testing.assert_close(shifted, torch.tensor([0.25**2 / 2]), msg="a shift changes no difference")
    edge = torch.zeros(1, 1, 4, 4)
    edge[..., 2:] = 1.0
    flat = loss(lambda x, t, cond: cond, edge, torch.full_like(edge, 0.5), rng())
    across = 0.5 * (1 - 0.25) / 3  # one of three differences is wrong by 1, which is beyond delta
    torch.testing.assert_close(flat, torch.tensor([0.5**2 / 2 + 0.5 * across]), msg="half wrong, and the edge is lost")


def test_regression_loss_calls_the_network_with_zeros_at_t_1() -> None:
    asked = []

    def network(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        asked.append((x.abs().max().item(), t.tolist()))
        return cond

    x = torch.randn(2, 1, 4, 4)
    assert RegressionLoss()(network, x, x, rng()).tolist() == [0.0, 0.0]
    assert asked == [(0.0, [1.0, 1.0])]
