"""Scores and their equations, on data whose score and whose likelihood are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusion.closed_form import Mixture, gaussian
from torch import Tensor

from sumi.diffusion import (
    AnnealedLangevinSampler,
    DDPMSampler,
    DenoisingLoss,
    EpsPrediction,
    FlowSchedule,
    Schedule,
    ScorePrediction,
    UniformTimes,
    VESchedule,
    VPSchedule,
    bound_bits_per_dim,
    flow_bits_per_dim,
    pure_noise,
    sample,
    snr_weight,
    uniform_times,
)
from sumi.nn import MLP
from sumi.systems.score_sde import NCSN, VE_SDE, PredictorCorrector, ladder, ncsn, noise_levels, sde

from .toys import coins, drawn, moments, taught, toy

WIDE = VESchedule(0.01, 30.0)


def log2_density(mixture: Mixture, x: Tensor) -> Tensor:
    parts = [
        w * torch.exp(-((x - m) ** 2) / (2 * d**2)) / (d * math.sqrt(2 * math.pi))
        for w, m, d in zip(mixture.weights, mixture.means, mixture.sds, strict=True)
    ]
    return torch.stack(parts).sum(0).log2()[:, 0]


def test_the_rungs_are_geometric_and_end_where_they_should() -> None:
    sigma = ladder(2.0, 0.02, 10)(noise_levels(10)[1:-1]).sigma
    assert sigma[0].item() == pytest.approx(2.0) and sigma[-1].item() == pytest.approx(0.02)
    torch.testing.assert_close(sigma[1:] / sigma[:-1], torch.full((9,), 0.01 ** (1 / 9)))


def test_denoising_is_score_matching() -> None:
    """sigma^2 |score|^2 with a network of scores is |eps|^2 with a network of noises: s = -eps / sigma."""
    levels, net = ladder(), MLP(2, 2, width=8, depth=1)
    torch.nn.init.normal_(net.proj_out.weight)

    def scores(x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return -net(x, t, cond) / levels(t).sigma[:, None]

    x, times = torch.randn(64, 2, generator=coins()), UniformTimes(10)
    as_eps = DenoisingLoss(EpsPrediction(), levels, times)(net, x, None, coins(1))
    as_score = DenoisingLoss(ScorePrediction(), levels, times, weighting=snr_weight)(scores, x, None, coins(1))
    torch.testing.assert_close(as_score, as_eps, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("step_size", [0.1, 0.4])
def test_langevin_rests_where_its_own_step_lets_it(step_size: float) -> None:
    """On a bell of variance v, x <- (1 - h / 2v) x + sqrt(h) z comes to rest at v / (1 - h / 4v), not quite at v."""
    levels, sd = VESchedule(0.5, 1.0), 0.3
    t = torch.full((2,), 0.5)
    sigma2 = float(levels(t[:1]).sigma ** 2)
    v, h = sd**2 + sigma2, step_size * sigma2
    x = torch.zeros(20_000, 1)
    x = sample(AnnealedLangevinSampler(levels, 120, step_size), gaussian(levels, sd=sd), x, t, None, coins())
    assert moments(x)[1] == pytest.approx(v / (1 - h / (4 * v)), rel=0.04)


def test_annealed_langevin_finds_both_humps() -> None:
    design = ncsn(num_rounds=30)
    mixture = Mixture(design.schedule)
    noise = pure_noise(design.schedule, torch.empty(6000, 1), coins())
    made = sample(design.sampler, mixture, noise, design.times(10), None, coins(1))
    assert moments(made) == pytest.approx(mixture.moments(), abs=0.06)
    assert (made < 0.1).float().mean() == pytest.approx(0.6, abs=0.05)


def test_the_larger_variance_on_ve_is_their_reverse_diffusion() -> None:
    """x + (sigma_t^2 - sigma_s^2) score + sqrt(sigma_t^2 - sigma_s^2) z, algorithm 2."""
    mixture, x = Mixture(WIDE), torch.linspace(-3, 3, 7)[:, None]
    t, s = torch.full((7,), 0.6), torch.full((7,), 0.55)
    stepped = DDPMSampler(WIDE, 1.0).step(mixture, x, t, s, None, None, coins()).x
    high, low = WIDE(t).sigma[:, None] ** 2, WIDE(s).sigma[:, None] ** 2
    score = (mixture(x, t).mean - x) / high
    z = torch.randn(7, 1, generator=coins())
    torch.testing.assert_close(stepped, x + (high - low) * score + (high - low).sqrt() * z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("schedule", [WIDE, VPSchedule()], ids=["VE", "VP"])
def test_predictor_and_corrector_draw_the_mixture(schedule: Schedule) -> None:
    design, mixture = sde("toy", schedule), Mixture(schedule)
    assert moments(drawn(design, mixture, 6000, num_steps=150)) == pytest.approx(mixture.moments(), abs=0.08)


def test_the_corrector_mends_a_bad_predictor() -> None:
    """Few steps leave the predictor short of the truth; Langevin steps at each level close part of the gap."""

    class Lazy(DDPMSampler):
        """Goes to the next level and forgets to renew any noise there."""

        def step(self, denoise: Any, x: Tensor, t: Tensor, s: Tensor, cond: Any, state: None, rng: Any) -> Any:
            from sumi.diffusion import step_to

            mean = denoise(x, t, cond).mean
            shrink = (self.schedule(s).sigma / self.schedule(t).sigma)[:, None] ** 2
            return step_to(s, mean + shrink * (x - mean), mean, None)

    bell, wanted = gaussian(WIDE, sd=0.8), 0.64
    noise = pure_noise(WIDE, torch.empty(3000, 1), coins())
    gaps = []
    for corrections in (0, 2):
        sampler = PredictorCorrector(WIDE, Lazy(WIDE), 0.3, corrections)
        made = sample(sampler, bell, noise, uniform_times(60), None, coins(1))
        gaps.append(abs(moments(made)[1] - wanted))
    assert gaps[1] < 0.3 * gaps[0]


def test_a_sample_does_not_depend_on_its_company() -> None:
    mixture, sampler = Mixture(WIDE), VE_SDE.sampler
    x, times = torch.tensor([[0.3], [20.0]]), uniform_times(8)
    together = sample(sampler, mixture, x, times, None, [coins(1), coins(2)])
    alone = sample(sampler, mixture, x[:1], times, None, [coins(1)])
    torch.testing.assert_close(together[:1], alone)


@pytest.mark.parametrize("schedule", [VESchedule(0.01, 50.0), VPSchedule(), FlowSchedule()], ids=["VE", "VP", "Flow"])
def test_the_flow_knows_the_likelihood_of_a_bell(schedule: Schedule) -> None:
    """Bits a dimension of N(0, sd^2), for values two 255ths apart; one probe suffices where J is diagonal."""
    sd = 0.5
    x = sd * torch.randn(500, 3, generator=coins(), dtype=torch.float64)
    times = schedule.time(torch.linspace(-8, 12, 100, dtype=torch.float64))
    times = torch.cat([torch.ones(1, dtype=torch.float64), times, torch.zeros(1, dtype=torch.float64)])
    cost = flow_bits_per_dim(gaussian(schedule, sd=sd), x, schedule, times, None, coins(1))
    truth = (x**2 / (2 * sd**2) + math.log(sd * math.sqrt(2 * math.pi))).mean(1) / math.log(2) - math.log2(2 / 255)
    torch.testing.assert_close(cost, truth, atol=0.02, rtol=0)


def test_the_flow_knows_the_likelihood_of_two_humps() -> None:
    schedule = VPSchedule()
    mixture, x = Mixture(schedule), torch.linspace(-1.5, 1.5, 21, dtype=torch.float64)[:, None]
    cost = flow_bits_per_dim(mixture, x, schedule, uniform_times(400).double(), None, coins(), bin_width=1.0)
    torch.testing.assert_close(cost, -log2_density(mixture, x), atol=0.02, rtol=0)


def test_the_bound_lies_above_the_likelihood() -> None:
    schedule = VPSchedule()
    mixture = Mixture(schedule, means=(-0.3, 0.4), sds=(0.1, 0.15))
    x = mixture.draw(2000, coins()).double()
    exact = -log2_density(mixture, x).mean() - math.log2(2 / 255)
    few, many = (bound_bits_per_dim(mixture, x, schedule, None, coins(1), n, 1.0).mean() for n in (30, 150))
    assert exact < many < few
    assert many - exact < 0.3


def test_a_network_learns_the_scores_of_two_humps() -> None:
    """The least loss there is, E|eps - E[eps | x_t]|^2, is met, and the draws have the right moments."""
    torch.manual_seed(0)
    design, network = ncsn(num_rounds=30), MLP(1, 1, width=32, depth=2)
    mixture = Mixture(design.schedule)
    x = mixture.draw(4000, coins())
    reached = taught(toy(design, network, x), 400, lr=4e-3)

    def ideal(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        return design.schedule(t).eps(x_t, mixture(x_t, t).mean)

    least = design.loss(ideal, mixture.draw(20_000, coins(1)), None, coins(2)).mean().item()
    assert least * 0.97 < reached < least * 1.06
    assert moments(drawn(design, design.denoiser(network), 1000)) == pytest.approx(mixture.moments(), abs=0.15)


def test_ncsn_is_what_was_published() -> None:
    assert NCSN.num_steps == 10
    assert NCSN.sampler == AnnealedLangevinSampler(ladder(), num_rounds=100, step_size=0.2)
