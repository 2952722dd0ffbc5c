"""2015: bits and bells, and a bound that is known in advance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    EpsPrediction,
    Estimate,
    bound_bits_per_dim,
    pure_noise,
    sample,
    snr_drop,
    uniform_times,
)
from sumi.diffusion.binomial import (
    BinomialSampler,
    BinomialSchedule,
    binomial_bound,
    posterior_mean,
    posterior_mean_given_x,
    sample_bits,
)
from sumi.nn import MLP
from sumi.systems.sohl_dickstein import BoundLoss, binomial, gaussian, heartbeats, swiss_roll

from .toys import coins, drawn, taught, toy

PATH = BinomialSchedule()
PHASES = torch.where(torch.arange(20) % 5 == torch.arange(5)[:, None], 1.0, -1.0)


def at(t: float) -> Tensor:
    return torch.tensor([t], dtype=torch.float64)


def ideal_heart(x_t: Tensor, t: Tensor, cond: object = None) -> Estimate:
    """Which phase? Each bit that agrees with it speaks for it by (1 + alpha) / (1 - alpha)."""
    alpha = PATH(t).alpha[:, None].clamp(max=1 - 1e-6)
    phase = ((x_t @ PHASES.T / 2) * ((1 + alpha) / (1 - alpha)).log()).softmax(1)
    return Estimate(phase @ PHASES)


def entropy(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


@pytest.mark.parametrize("x", [-1.0, 1.0])
@pytest.mark.parametrize("x_t", [-1.0, 1.0])
def test_a_bit_between_two_known_ones_is_bayes_rule(x: float, x_t: float) -> None:
    """P(x_s | x_t, x) by counting: keep or toss from x to s, keep or toss from s to t."""
    at_t, at_s = PATH(at(0.7)), PATH(at(0.4))
    a, b = at_s.alpha.item(), (at_t.alpha / at_s.alpha).item()
    up, down = (((1 + v * a * x) / 2) * ((1 + v * b * x_t) / 2) for v in (1, -1))
    truth = (up - down) / (up + down)
    assert posterior_mean_given_x(at(x), at(x_t), at_t, at_s).item() == pytest.approx(truth)


def test_bits_diffuse_as_the_schedule_says() -> None:
    x_t = sample_bits(PATH(at(0.75)).alpha.float().expand(20_000), coins())
    assert set(x_t.tolist()) == {-1.0, 1.0}
    assert x_t.mean().item() == pytest.approx(0.25, abs=0.02)
    assert x_t.std().item() == pytest.approx(PATH(at(0.75)).sigma.item(), abs=0.01)


def test_the_paper_s_steps_make_a_straight_line() -> None:
    """beta_k = 1 / (T - k + 1), which erases the same number of bits in every step."""
    betas = 1 / torch.arange(50, 0, -1, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    torch.testing.assert_close(kept, PATH(torch.arange(1, 51, dtype=torch.float64) / 50).alpha)


@pytest.mark.parametrize("num_steps", [1, 4, 16])
def test_one_bit_costs_its_entropy_in_any_number_of_steps(num_steps: int) -> None:
    """With the true denoiser every step back is the true one, and the bound is -log2 p(x) itself."""
    p, mean = 0.2, 2 * 0.2 - 1

    def ideal(x_t: Tensor, t: Tensor, cond: object) -> Estimate:
        alpha = PATH(t).alpha[:, None]
        return Estimate((mean + alpha * x_t) / (1 + mean * alpha * x_t))

    x = torch.where(torch.arange(20_000) < 20_000 * p, 1.0, -1.0)[:, None]
    cost = binomial_bound(ideal, x, PATH, num_steps, None, coins())
    assert cost[x[:, 0] > 0].mean().item() == pytest.approx(-math.log2(p), abs=0.05)
    assert cost.mean().item() == pytest.approx(entropy(p), abs=0.02)


def test_a_heartbeat_costs_its_phase_as_the_steps_get_small() -> None:
    """In one step all twenty bits are guessed apart from each other; in many, one betrays the rest."""
    x = heartbeats(400, coins())
    cost = [binomial_bound(ideal_heart, x, PATH, n, None, coins(1)).mean().item() for n in (1, 8, 64, 256)]
    assert cost[0] == pytest.approx(20 * entropy(0.2), rel=0.01)
    assert cost == sorted(cost, reverse=True)
    assert cost[-1] == pytest.approx(math.log2(5), abs=0.1)


def test_binomial_bound_of_a_network_that_is_certain_and_wrong_is_finite() -> None:
    """A bit costs log2(10^6) at most in a step, so one bad answer does not drown the others."""
    wrong = Estimate(-torch.ones(50, 1))
    cost = binomial_bound(lambda x_t, t, cond: wrong, torch.ones(50, 1), PATH, 1, None, coins())
    torch.testing.assert_close(cost, torch.full((50,), math.log2(1e6)), rtol=1e-3, atol=0)


def test_bits_are_drawn_as_they_are_distributed() -> None:
    noise = pure_noise(PATH, torch.empty(500, 20), coins())
    made = sample(BinomialSampler(PATH), ideal_heart, noise, uniform_times(128), None, coins(2))
    which = (made[:, None] == PHASES).all(2)
    assert which.any(1).float().mean() > 0.97
    torch.testing.assert_close(which.float().mean(0), torch.full((5,), 0.2), atol=0.06, rtol=0)


def test_binomial_sampler_with_another_seed_draws_other_bits_as_it_declares() -> None:
    noise = pure_noise(PATH, torch.empty(50, 20), coins())
    sampler = BinomialSampler(PATH)
    one, other = (sample(sampler, ideal_heart, noise, uniform_times(8), None, coins(seed)) for seed in (2, 3))
    assert sampler.stochastic and not torch.equal(one, other)


def test_a_network_learns_to_beat() -> None:
    design, network = binomial(50), MLP(20, 20, width=48, depth=2)
    cost = taught(toy(design, network, heartbeats(1000, coins())), 300, lr=6e-3)
    assert math.log2(5) < cost < 6
    made = drawn(design, design.denoiser(network), 500, 20)
    assert (made[:, None] == PHASES).all(2).any(1).float().mean() > 0.8


def test_the_expected_bit_is_certain_when_the_clean_one_is() -> None:
    x_t, at_t, at_s = torch.tensor([1.0, -1.0]), PATH(torch.tensor([0.5, 0.5])), PATH(torch.tensor([0.3, 0.3]))
    one = torch.ones(2)
    torch.testing.assert_close(posterior_mean(one, x_t, at_t, at_s), posterior_mean_given_x(one, x_t, at_t, at_s))


def test_a_bell_costs_its_entropy() -> None:
    """Every true step back from Gaussian data is Gaussian, so with the true variances the bound is exact."""
    sd, num_steps, chain = 0.2, 60, BetaSchedule.linear(60)

    def ideal(x_t: Tensor, t: Tensor, cond: object) -> Estimate:
        at_t, at_s = chain(t), chain(((t * num_steps).round() - 1) / num_steps)
        spread = at_t.alpha**2 * sd**2 + at_t.sigma**2
        posterior = sd**2 * at_t.sigma**2 / spread  # of x, and through it that of x_s
        c = snr_drop(at_t, at_s)
        variance = c * at_s.sigma**2 + (at_s.alpha * c) ** 2 * posterior
        above = chain(((t * num_steps).round().clamp_min(2)) / num_steps)
        below = chain(((t * num_steps).round().clamp_min(2) - 1) / num_steps)
        low = (snr_drop(above, below) * below.sigma**2).log()  # where the node below has noise left
        high = (c * at_t.sigma**2).log()
        share = (variance.log() - low) / (high - low)
        first = (t * num_steps).round() == 1  # there the two bounds are one scale, not two
        share = torch.where(first, (posterior.log() - low) / (high - low), share)
        return Estimate((at_t.alpha * sd**2 / spread)[:, None] * x_t, share[:, None].expand_as(x_t))

    x = sd * torch.randn(20_000, 1, generator=coins(), dtype=torch.float64)
    truth = float(x.square().mean()) / (2 * sd**2 * math.log(2)) + math.log2(sd * math.sqrt(2 * math.pi) * 255 / 2)
    cost = bound_bits_per_dim(ideal, x, chain, None, coins(1), num_steps)
    assert cost.mean().item() == pytest.approx(truth, abs=0.03)


def test_the_swiss_roll_is_rolled() -> None:
    """Taught by the bound alone, in the paper's forty steps."""
    design, rng = gaussian(40), coins()
    torch.manual_seed(0)
    network, roll = MLP(2, 4, width=64, depth=3), swiss_roll(4000, rng)
    taught(toy(design, network, roll), 500, lr=4e-3)
    made = drawn(design, design.denoiser(network), 500, 2)
    assert torch.cdist(made, roll).amin(1).median() < 0.05
    assert torch.cdist(roll, made).amin(1).quantile(0.9) < 0.25  # and no part of it is missing


def test_the_bound_needs_a_variance() -> None:
    design = gaussian(4)
    with pytest.raises(ValueError, match="learned variance"):
        BoundLoss(EpsPrediction(), design.schedule, 4)(lambda x, t, c: x, torch.zeros(2, 1), None, coins())
