"""Each system is what its paper says: the times that training draws, the noise of a step, the degraded inputs.

Every number here is written from the paper, never read from the code, and is looked for in what a network is shown or
what a sampler does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.diffusion import BetaSchedule, Estimate, Schedule, VESchedule, VPSchedule
from sumi.nn import Cond
from sumi.systems.ddpm import DDIM_2020, DDPM_2020, IMPROVED
from sumi.systems.diffusion_spec import DiffusionSpec
from sumi.systems.edm import Churn, edm
from sumi.systems.flow_matching import RECTIFIED, STRAIGHT
from sumi.systems.imagen import IMAGEN
from sumi.systems.latent import LATENT_2022, LATENT_2024
from sumi.systems.score_sde import NCSN, VE_SDE, VP_SDE

from .toys import coins

COUNT = 4000


class Listener:
    """Stands in for a network: keeps what it is shown and answers zeros."""

    def __init__(self, channels: int) -> None:
        self.channels, self.calls = channels, list[tuple[Tensor, Tensor]]()

    def __call__(self, x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        self.calls.append((x_t, t))
        return torch.zeros(len(x_t), self.channels, *x_t.shape[2:])


def heard(design: DiffusionSpec, x: Tensor | None = None, channels: int = 1) -> tuple[Tensor, Tensor]:
    """What a design's loss shows a network of one-pixel signals, and at which times."""
    network = Listener(channels)
    design.loss(network, torch.zeros(COUNT, 1) if x is None else x, Cond(), coins())
    return network.calls[0]


def quantiles(values: Tensor) -> list[float]:
    return values.double().quantile(torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)).tolist()


#: Quantiles of the standard normal at 10, 25, 50, 75 and 90 per cent.
BELL = [-1.2816, -0.6745, 0.0, 0.6745, 1.2816]
EVEN = [0.1, 0.25, 0.5, 0.75, 0.9]


@pytest.mark.parametrize("design", [DDPM_2020, DDIM_2020, IMPROVED], ids=lambda design: design.name)
def test_the_chain_of_2020_is_taught_at_a_thousand_nodes_alike(design: DiffusionSpec) -> None:
    _, t = heard(design, channels=2 if design is IMPROVED else 1)
    nodes = t * 1000
    torch.testing.assert_close(nodes, nodes.round(), atol=1e-3, rtol=0)
    assert t.min() == 1 / 1000 and t.max() == 1 and quantiles(t) == pytest.approx(EVEN, abs=0.002)


@pytest.mark.parametrize("design", [VE_SDE, VP_SDE, STRAIGHT, LATENT_2022.spec], ids=lambda design: design.name)
def test_continuous_systems_are_taught_at_all_times_alike(design: DiffusionSpec) -> None:
    _, t = heard(design)
    assert quantiles(t) == pytest.approx(EVEN, abs=0.002)
    assert len(torch.unique(t)) == COUNT


def test_rectified_flow_is_taught_at_all_times_alike() -> None:
    _, t = heard(RECTIFIED, torch.zeros(COUNT, 2, 1))
    assert quantiles(t) == pytest.approx(EVEN, abs=0.002)


def test_ncsn_is_taught_at_ten_levels_alike() -> None:
    _, t = heard(NCSN)
    levels, counts = NCSN.schedule(t).sigma.unique(return_counts=True)
    assert len(levels) == 10 and counts.min() == counts.max() == COUNT / 10
    ratios = levels[1:] / levels[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand(9), atol=1e-4, rtol=0)


def test_the_transformer_of_2024_is_taught_at_logit_normal_times() -> None:
    """Esser et al. 2024, equation 19: logit(t) ~ N(0, 1)."""
    _, t = heard(LATENT_2024.spec)
    assert quantiles(torch.logit(t)) == pytest.approx(BELL, abs=0.01)


def test_edm_is_taught_at_log_normal_noise() -> None:
    """Karras et al. 2022, table 1: log sigma ~ N(-1.2, 1.2^2), and the network is told log(sigma) / 4."""
    _, told_noise = heard(edm(0.5))
    assert quantiles((4 * told_noise + 1.2) / 1.2) == pytest.approx(BELL, abs=0.01)


def test_edm_is_shown_signals_of_unit_variance_whatever_the_noise() -> None:
    design = edm(0.5)
    x_in, _ = heard(design, 0.5 * torch.randn(COUNT, 64, generator=coins(1)), channels=64)
    assert x_in.var(dim=1).mean().item() == pytest.approx(1, abs=0.02)


# The noise of one step. ----------------------------------------------------------------------------------------


def known(value: float = 0.3) -> Any:
    """A denoiser that believes in one value."""
    return lambda x_t, t, cond, /: Estimate(torch.full_like(x_t, value))


def spread(design: DiffusionSpec, t: float, s: float) -> float:
    """The standard deviation of x_s where x_t and the estimate are known."""
    x, ends = torch.full((1, 40_000), 0.7), (torch.tensor([t]), torch.tensor([s]))
    return design.sampler.step(known(), x, *ends, Cond(), design.sampler.init(x), coins()).x.std().item()


@pytest.mark.parametrize("k", [2, 50, 500, 1000])
def test_ddpm_s_step_has_the_variance_beta(k: int) -> None:
    """Ho et al. 2020, section 3.2 and table 1: sigma_t^2 = beta_t for pictures, with beta from 1e-4 to 0.02."""
    beta = 1e-4 + (0.02 - 1e-4) * (k - 1) / 999
    assert spread(DDPM_2020, k / 1000, (k - 1) / 1000) == pytest.approx(math.sqrt(beta), rel=0.02)


def test_imagen_s_step_has_the_variance_of_the_posterior_of_one_point() -> None:
    """beta_tilde = (1 - abar_s) / (1 - abar_t) beta on the cosine chain (Nichol and Dhariwal 2021, equation 17)."""
    abar = [math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0.5, 0.499)]
    beta = 1 - abar[0] / abar[1]
    expected = math.sqrt((1 - abar[1]) / (1 - abar[0]) * beta)
    assert spread(IMAGEN.spec, 0.5, 0.499) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("design", [VE_SDE, VP_SDE], ids=lambda design: design.name)
def test_the_corrector_s_step_is_that_of_a_ratio_of_016(design: DiffusionSpec) -> None:
    """Song et al. 2021, algorithms 4 and 5 and table 4: x + e score + sqrt(2 e) z, e = 2 (r sigma)^2, r = 0.16."""
    sampler: Any = design.sampler
    x, t = torch.randn(3, 5, generator=coins(1)), torch.tensor([0.2, 0.5, 0.9])
    alpha, sigma = (value[:, None] for value in design.schedule(t))
    score = -(x - alpha * 0.3) / sigma**2
    e, z = 2 * (0.16 * sigma) ** 2, torch.randn(3, 5, generator=coins(7))
    found = sampler.corrected(known(), x, t, Cond(), coins(7))
    torch.testing.assert_close(found, x + e * score + (2 * e).sqrt() * z, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("schedule", [VESchedule(), VPSchedule()], ids=["ve", "vp"])
def test_a_corrected_step_is_the_predictor_s_step_corrected_once(schedule: Schedule) -> None:
    sampler: Any = (VE_SDE if isinstance(schedule, VESchedule) else VP_SDE).sampler
    x, t, s = torch.randn(2, 3, generator=coins(1)), torch.full((2,), 0.6), torch.full((2,), 0.5)
    rng = coins(5)
    predicted = sampler.predictor.step(known(), x, t, s, Cond(), None, rng)
    once = sampler.corrected(known(), predicted.x, s, Cond(), rng)
    assert torch.equal(sampler.step(known(), x, t, s, Cond(), None, coins(5)).x, once)
    assert sampler.predictor.var_interp == 1.0, "the larger variance makes it their reverse diffusion"


@pytest.mark.parametrize("s_noise", [1.0, 1.003, 2.0])
def test_churn_adds_noise_of_its_own_deviation(s_noise: float) -> None:
    """Karras et al. 2022, algorithm 2, line 5: x + sqrt(sigma_hat^2 - sigma^2) eps, eps ~ N(0, S_noise^2)."""
    schedule, seen = edm().schedule, list[tuple[Tensor, Tensor]]()

    def watched(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        seen.append((x_t, t))
        return Estimate(torch.zeros_like(x_t))

    t, x = schedule.time(torch.tensor([-2 * math.log(2.0)])), torch.full((1, 50), 3.0)  # sigma = 2
    Churn(schedule, churn=0.3, noise=s_noise).step(watched, x, t, 0.5 * t, Cond(), None, coins(4))
    x_hat, t_hat = seen[0]
    assert schedule(t_hat).sigma.item() == pytest.approx(2 * 1.3, rel=1e-4)
    z = torch.randn(1, 50, generator=coins(4))
    torch.testing.assert_close(x_hat, x + s_noise * 2 * math.sqrt(1.3**2 - 1) * z, atol=1e-3, rtol=1e-3)


def test_churn_s_published_noise_is_a_little_more_than_one() -> None:
    sampler: Any = edm(churn=0.2).sampler
    assert (sampler.churn, sampler.noise, sampler.low, sampler.high) == (0.2, 1.003, 0.05, 50.0)


@pytest.mark.parametrize("sigma", [0.01, 60.0])
def test_churn_leaves_alone_what_is_too_clean_or_too_noisy(sigma: float) -> None:
    schedule, seen = edm().schedule, list[Tensor]()

    def watched(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        seen.append(x_t)
        return Estimate(torch.zeros_like(x_t))

    t, x = schedule.time(torch.tensor([-2 * math.log(sigma)])), torch.full((1, 5), 3.0)
    Churn(schedule).step(watched, x, t, 0.5 * t, Cond(), None, coins(4))
    torch.testing.assert_close(seen[0], x, atol=1e-4, rtol=0)


def test_improved_ddpm_adds_a_thousandth_of_the_bound() -> None:
    """L_simple + 0.001 L_vlb, L_vlb = T KL in bits a dimension (Nichol and Dhariwal 2021, section 3.1)."""
    betas, t = torch.tensor(BetaSchedule.cosine().betas, dtype=torch.float64), torch.tensor([0.3, 0.7]).double()
    abar, k = torch.cumprod(1 - betas, 0), (t * 1000).round().long() - 1
    x, raw = torch.tensor([[0.4], [-0.2]]).double(), -0.5  # the network says eps = 0 and this second half
    design = replace(IMPROVED, loss=replace(IMPROVED.loss, times=lambda count, rng: t))  # type: ignore[type-var]
    eps = torch.randn(2, 1, generator=coins(3)).double()
    x_t = abar[k].sqrt()[:, None] * x + (1 - abar[k]).sqrt()[:, None] * eps
    guess = x_t / abar[k].sqrt()[:, None]
    beta, before = betas[k][:, None], abar[k - 1][:, None]
    small = beta * (1 - before) / (1 - abar[k][:, None])
    log_var = (raw + 1) / 2 * beta.log() + (1 - raw) / 2 * small.log()
    gap = before.sqrt() * beta / (1 - abar[k][:, None]) * (x - guess)
    kl = 0.5 * (log_var - small.log() - 1 + small / log_var.exp() + gap**2 / log_var.exp())

    def network(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        return torch.cat([torch.zeros_like(x_t), torch.full_like(x_t, raw)], dim=1)

    found = design.loss(network, x, Cond(), coins(3))
    expected = eps.square()[:, 0] + 0.001 * 1000 * kl[:, 0] / math.log(2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
