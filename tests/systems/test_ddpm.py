"""DDPM, DDIM and the learned variance, on a bell, where the best answer to everything is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusion.closed_form import Mixture, gaussian
from torch import Tensor, nn

from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    Schedule,
    bound_bits_per_dim,
    sample,
    snr_drop,
    uniform_times,
)
from sumi.nn import MLP, Cond
from sumi.systems.ddpm import DDIM_2020, DDPM_2020, IMPROVED, bits, ddim, ddpm, improved_ddpm

from .toys import coins, drawn, moments, taught, toy

SD = 0.5


def surprise(x: Tensor, sd: float) -> float:
    """Mean of -log2 N(x; 0, sd^2), for values two 255ths apart."""
    return float(x.square().mean()) / (2 * sd**2 * math.log(2)) + math.log2(sd * math.sqrt(2 * math.pi) * 255 / 2)


def test_the_tables_are_those_of_the_papers() -> None:
    assert isinstance(DDPM_2020.schedule, BetaSchedule) and isinstance(IMPROVED.schedule, BetaSchedule)
    betas = torch.tensor(DDPM_2020.schedule.betas)
    assert len(betas) == 1000 and betas[0] == pytest.approx(1e-4) and betas[-1] == pytest.approx(0.02)
    half = torch.tensor([0.5])
    cosine = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert IMPROVED.schedule(half).alpha.item() ** 2 == pytest.approx(cosine, rel=1e-3)
    assert IMPROVED.schedule(half).alpha > DDPM_2020.schedule(half).alpha  # half-way, cosine still shows a picture


def test_one_square_finds_the_conditional_mean() -> None:
    """On a bell E[eps | x_t] = sigma x_t / (alpha^2 sd^2 + sigma^2); its square error is the least loss there is."""
    torch.manual_seed(0)
    design, network = ddpm(100), MLP(1, 1, width=32, depth=2)
    x = SD * torch.randn(4000, 1, generator=coins())
    reached = taught(toy(design, network, x), 300, lr=5e-3)
    level = design.schedule(torch.arange(1, 101) / 100)
    spread = level.alpha**2 * SD**2 + level.sigma**2
    least = (level.alpha**2 * SD**2 / spread).mean().item()
    assert least * 0.9 < reached < least * 1.1
    t, x_t = torch.full((9,), 0.4), torch.linspace(-1, 1, 9)[:, None]
    mean = design.denoiser(network)(x_t, t, Cond()).mean
    torch.testing.assert_close(mean, gaussian(design.schedule, sd=SD)(x_t, t).mean, atol=0.1, rtol=0)
    assert moments(drawn(design, design.denoiser(network), 4000)) == pytest.approx((0, SD**2), abs=0.05)
    inside = x[x[:, 0].abs() < 0.98]  # beyond, eight bits say only "more"
    cost = bits(design, network, inside, coins(1), num_steps=100).mean().item()
    truth = surprise(inside, SD)
    assert truth - 0.05 < cost < truth + 0.3


def test_drawing_is_the_posterior_of_the_chain() -> None:
    """beta_tilde and beta, the two variances of the paper, and the mean of eq. 7, at one step of a short chain."""
    chain, x_t, k = BetaSchedule.linear(10), torch.tensor([[0.7]], dtype=torch.float64), 6
    bar = torch.tensor(chain.betas, dtype=torch.float64).neg().add(1).cumprod(0)
    beta, now, before = chain.betas[k - 1], bar[k - 1], bar[k - 2]
    t, s = torch.tensor([k / 10], dtype=torch.float64), torch.tensor([(k - 1) / 10], dtype=torch.float64)
    mean = gaussian(chain, sd=SD)(x_t, t).mean
    mu = before.sqrt() * beta / (1 - now) * mean + math.sqrt(1 - beta) * (1 - before) / (1 - now) * x_t
    z = torch.randn(1, 1, generator=coins()).double()
    for variance, published in ((0.0, (1 - before) / (1 - now) * beta), (1.0, torch.tensor(beta))):
        step = DDPMSampler(chain, variance).step(gaussian(chain, sd=SD), x_t, t, s, None, None, coins())
        torch.testing.assert_close(step.x, mu + published.sqrt() * z, atol=1e-9, rtol=1e-6)


def test_ddim_is_a_map_and_a_start_is_a_picture() -> None:
    """On a bell the map is x = sd x_T; more steps come nearer to it, and no chance enters."""
    x = torch.linspace(-2, 2, 9)[:, None]
    gaps = []
    for num_steps in (10, 40, 160):
        design = ddim(num_steps)
        assert design.loss == DDIM_2020.loss == DDPM_2020.loss
        bell = gaussian(design.schedule, sd=SD)
        made = [sample(design.sampler, bell, x, uniform_times(num_steps), None, coins(seed)) for seed in (1, 2)]
        assert torch.equal(*made)
        gaps.append((made[0] - SD * x).abs().max().item())
    assert gaps[1] < gaps[0] / 2 and gaps[2] < gaps[1] / 2 and gaps[2] < 0.02


def test_ddim_with_all_its_noise_is_ddpm() -> None:
    chain = ddpm().schedule
    mixture, x = Mixture(chain), torch.randn(50, 1, generator=coins())
    both = [
        sample(s, mixture, x, uniform_times(20), None, coins(1))
        for s in (DDIMSampler(chain, 1.0), DDPMSampler(chain, 0.0))
    ]
    torch.testing.assert_close(*both)


class Told(nn.Module):
    """Knows the noise in a bell, and has to learn where the variance lies."""

    def __init__(self, chain: Schedule) -> None:
        super().__init__()
        self.chain, self.bell, self.share = chain, gaussian(chain, sd=SD), MLP(1, 1, width=32, depth=1)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return torch.cat([self.chain(t).eps(x, self.bell(x, t).mean), self.share(x, t, cond)], dim=1)


def test_the_variance_that_is_learned_is_the_true_one() -> None:
    """On a bell the variance of a step back is known, and lies between the bounds; the share finds it."""
    torch.manual_seed(0)
    design = improved_ddpm(12, 12)
    chain, network = design.schedule, Told(design.schedule)
    taught(toy(design, network, SD * torch.randn(4000, 1, generator=coins())), 250, lr=1e-2)
    for k in (2, 4, 7, 10):
        t = torch.full((100,), k / 12)
        at_t, at_s = chain(t[:1]), chain(t[:1] - 1 / 12)
        spread, c = at_t.alpha**2 * SD**2 + at_t.sigma**2, snr_drop(at_t, at_s)
        posterior = SD**2 * at_t.sigma**2 / spread
        truth = (c * at_s.sigma**2 + (at_s.alpha * c) ** 2 * posterior).log()
        low, high = (c * at_s.sigma**2).log(), (c * at_t.sigma**2).log()
        share = design.denoiser(network)(torch.randn(100, 1, generator=coins(k)) * spread.sqrt(), t, Cond()).var_interp
        assert share is not None
        assert share.mean().item() == pytest.approx(((truth - low) / (high - low)).item(), abs=0.1)


@pytest.mark.parametrize(("variance", "within"), [(0.0, 1.5), (1.0, 0.5)], ids=["beta_tilde", "beta"])
def test_the_bound_tightens_with_the_steps(variance: float, within: float) -> None:
    x, costs = (0.3 * torch.randn(2000, 1, generator=coins())).double(), []
    for num_steps in (20, 60, 140):
        chain = BetaSchedule.linear(num_steps)
        bell: Any = gaussian(chain, sd=0.3)
        costs.append(bound_bits_per_dim(bell, x, chain, None, coins(1), num_steps, variance).mean().item())
    exact = surprise(x, 0.3)
    assert costs == sorted(costs, reverse=True)
    assert exact < costs[-1] < exact + within
