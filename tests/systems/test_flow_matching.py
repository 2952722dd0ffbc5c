"""Flow matching: straight lines that cross, a flow that bends, and lines made straight again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusion.closed_form import Mixture, gaussian
from torch import Tensor

from sumi.diffusion import (
    DenoisingLoss,
    EpsPrediction,
    EulerSampler,
    FlowPrediction,
    FlowSchedule,
    HeunSampler,
    UniformTimes,
    sample,
    uniform_times,
)
from sumi.nn import MLP
from sumi.systems.flow_matching import RECTIFIED, STRAIGHT, CoupledLoss, couples, flow_matching, rectified_flow

from .toys import coins, drawn, moments, taught, toy

PATH, SD = FlowSchedule(), 0.5


def straight_bell(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
    """Couples x = sd eps lie on lines that never cross: dx / dt = (1 - sd) eps, eps = x_t / (sd + (1 - sd) t)."""
    return (1 - SD) * x_t / (SD + (1 - SD) * t)[:, None]


def test_the_loss_is_ddpm_s_by_another_weight() -> None:
    """eps - x = (eps - alpha-path) / t: an error in eps is (1 - t) / t times one in x, in the velocity 1 / t times."""
    network = MLP(2, 2, width=8, depth=1)
    torch.nn.init.normal_(network.proj_out.weight)
    x = torch.randn(64, 2, generator=coins())
    velocity = STRAIGHT.loss(network, x, None, coins(1))
    as_eps = DenoisingLoss(STRAIGHT.target, PATH, measure=EpsPrediction(), min_sigma=0.0)(network, x, None, coins(1))
    t = DenoisingLoss(EpsPrediction(), PATH).times(64, coins(1))
    torch.testing.assert_close(velocity * (1 - t) ** 2, as_eps, rtol=1e-3, atol=1e-4)


def test_one_point_is_reached_in_one_straight_step() -> None:
    point = gaussian(PATH, mean=0.3, sd=0.0)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    made = sample(EulerSampler(PATH), point, x, torch.tensor([1.0, 0.25]).double(), None, [])
    torch.testing.assert_close(made, 0.25 * x + 0.75 * 0.3)


def test_the_flow_of_a_bell_shrinks_it() -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    made = sample(HeunSampler(PATH), gaussian(PATH, sd=SD), x, uniform_times(64).double(), None, [])
    torch.testing.assert_close(made, SD * x, atol=2e-2, rtol=0)


def test_loss_of_couples_is_the_mean_squared_error_of_each() -> None:
    pairs = torch.randn(5, 2, 3, 2, generator=coins())
    loss = CoupledLoss(FlowPrediction(), PATH, UniformTimes(10))
    costs = loss(lambda x_t, t, cond: torch.full_like(x_t, 0.5), pairs, None, coins(1))
    torch.testing.assert_close(costs, (0.5 - (pairs[:, 1] - pairs[:, 0])).square().mean(dim=(1, 2)))


def test_couples_that_never_cross_are_learned_without_error() -> None:
    """The loss of independent pairs has a floor, that of the flow's own couples has none; so one step is enough."""
    eps = torch.randn(2000, 1, generator=coins())
    pairs = torch.stack([SD * eps, eps], dim=1)
    loss: Any = RECTIFIED.loss
    assert isinstance(loss, CoupledLoss)
    assert loss(straight_bell, pairs, None, coins(1)).max() < 1e-9
    shuffled = torch.stack([SD * eps.roll(1, 0), eps], dim=1)
    assert loss(straight_bell, shuffled, None, coins(1)).mean() > 0.1


def test_couples_hold_the_noise_and_what_became_of_it() -> None:
    pairs = couples(flow_matching(8), MLP(3, 3, width=8, depth=1), (3,), range(10), batch=4)
    alone = couples(flow_matching(8), MLP(3, 3, width=8, depth=1), (3,), [7])
    assert pairs.shape == (10, 2, 3)
    torch.testing.assert_close(pairs[7], alone[0])  # silent networks: v = 0, nothing moves
    torch.testing.assert_close(pairs[:, 0], pairs[:, 1])


def test_rectifying_makes_one_step_enough() -> None:
    """Two humps. One step of the first flow lands on the mean of everything; one of the second finds the humps."""
    torch.manual_seed(0)
    mixture, flow = Mixture(PATH), flow_matching()
    mean, variance = mixture.moments()
    first = drawn(flow, mixture, 2000, num_steps=1)
    assert moments(first) == pytest.approx((mean, 0), abs=0.02)
    eps = torch.randn(4000, 1, generator=coins())
    pairs = torch.stack([sample(HeunSampler(PATH), mixture, eps, uniform_times(60), None, []), eps], dim=1)
    design, network = rectified_flow(), MLP(1, 1, width=48, depth=2)
    taught(toy(design, network, pairs), 350, lr=5e-3)
    second = drawn(design, design.denoiser(network), 2000)
    assert moments(second) == pytest.approx((mean, variance), abs=0.1)


def test_a_network_learns_two_humps() -> None:
    torch.manual_seed(0)
    network, mixture = MLP(1, 1, width=32, depth=2), Mixture(PATH)
    reached = taught(toy(STRAIGHT, network, mixture.draw(4000, coins())), 300, lr=5e-3)

    def ideal(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        mean = mixture(x_t, t).mean
        return PATH(t).eps(x_t, mean) - mean

    least = STRAIGHT.loss(ideal, mixture.draw(20_000, coins(1)), None, coins(2)).mean().item()
    assert least * 0.95 < reached < least * 1.1
    assert moments(drawn(STRAIGHT, STRAIGHT.denoiser(network), 2000)) == pytest.approx(mixture.moments(), abs=0.1)
