"""EDM: everything has unit size, and few steps suffice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusion.closed_form import Mixture, gaussian
from torch import Tensor, nn

from sumi.diffusion import (
    DDIMSampler,
    EDMPrediction,
    EDMSchedule,
    HeunSampler,
    karras_times,
    normal,
    pure_noise,
    sample,
    uniform_times,
)
from sumi.errors import SumiError
from sumi.nn import MLP, Cond
from sumi.pipelines.steps import Threshold, drive_to_end
from sumi.systems import SYSTEMS, Examples, method_for
from sumi.systems.ddpm import ddpm
from sumi.systems.diffusion_spec import DiffusionObjective
from sumi.systems.edm import KARRAS, Churn, edm
from sumi.systems.pipeline import SampleRequest, StagePipeline

from .toys import coins, drawn, moments, taught, toy

SCHEDULE = EDMSchedule()


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 80.0])
def test_the_network_sees_and_says_things_of_unit_size(sigma: float) -> None:
    target = EDMPrediction(0.5)
    x, eps = 0.5 * torch.randn(20_000, 1, generator=coins()), torch.randn(20_000, 1, generator=coins(1))
    t = SCHEDULE.time(torch.tensor([sigma]).log().mul(-2)).expand(20_000)
    level = SCHEDULE(t)
    shown, told = target.scale_inputs(level.add_noise(x, eps), t, level)
    assert shown.std().item() == pytest.approx(1, abs=0.03)
    assert target.of(x, eps, level).std().item() == pytest.approx(1, abs=0.03)
    assert told[0].item() == pytest.approx(torch.tensor(sigma).log().item() / 4, abs=1e-3)


def test_a_network_that_says_nothing_is_already_right_about_a_bell() -> None:
    """c_skip x_t is E[x | x_t] when x is N(0, d^2), so F = 0 is the optimum, and its loss is one."""
    x_t, t = torch.linspace(-3, 3, 7)[:, None], torch.full((7,), 0.4)
    silent = KARRAS.denoiser(MLP(1, 1, width=4, depth=1))
    torch.testing.assert_close(silent(x_t, t, Cond()).mean, gaussian(SCHEDULE, sd=0.5)(x_t, t).mean)
    x = 0.5 * torch.randn(20_000, 1, generator=coins())
    assert KARRAS.loss(MLP(1, 1, width=4, depth=1), x, Cond(), coins(1)).mean().item() == pytest.approx(1, abs=0.03)


def test_weight_one_on_f_is_lambda_on_d() -> None:
    """lambda(sigma) |D - x|^2 with lambda = (sigma^2 + d^2) / (sigma d)^2, table 1."""
    network = MLP(3, 3, width=8, depth=1)
    torch.nn.init.normal_(network.proj_out.weight)
    x = 0.5 * torch.randn(32, 3, generator=coins())
    rng = coins(1)
    t = KARRAS.loss.times(32, rng)  # type: ignore[attr-defined]
    sigma = SCHEDULE(t).sigma
    x_t = x + sigma[:, None] * normal(x, rng)
    error = (KARRAS.denoiser(network)(x_t, t, Cond()).mean - x).square().mean(1)
    theirs = (sigma**2 + 0.25) / (sigma * 0.5) ** 2 * error
    torch.testing.assert_close(KARRAS.loss(network, x, Cond(), coins(1)), theirs, rtol=1e-3, atol=1e-4)


def test_noise_is_drawn_where_pictures_are_made() -> None:
    sigma = SCHEDULE(KARRAS.loss.times(5000, coins())).sigma.log()  # type: ignore[attr-defined]
    assert sigma.mean().item() == pytest.approx(-1.2, abs=0.02)
    assert sigma.std().item() == pytest.approx(1.2, abs=0.02)


def test_eighteen_steps_are_nearly_all_there_are() -> None:
    """Two humps, whose flow is known: 35 evaluations come within a few hundredths of it, and nine do not."""
    mixture = Mixture(SCHEDULE)
    x = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)[:, None] * 80
    ends = []
    for num_steps in (9, 18):
        made = sample(HeunSampler(SCHEDULE), mixture, x, karras_times(SCHEDULE)(num_steps).double(), None, [])
        ends.append((made - mixture.flow(x, 1.0, 1e-6)).abs().mean().item())
    assert ends[1] < ends[0] / 3 and ends[1] < 0.04


def test_churning_changes_chance_and_not_the_picture_s_distribution() -> None:
    mixture, design = Mixture(SCHEDULE), edm(churn=0.2)
    assert moments(drawn(design, mixture, 5000, num_steps=40)) == pytest.approx(mixture.moments(), abs=0.05)


def test_without_churn_it_is_heun_s() -> None:
    x = pure_noise(SCHEDULE, torch.empty(20, 1), coins())
    still = sample(Churn(SCHEDULE, churn=0.0), Mixture(SCHEDULE), x, karras_times(SCHEDULE)(8), None, coins(1))
    torch.testing.assert_close(
        still, sample(HeunSampler(SCHEDULE), Mixture(SCHEDULE), x, karras_times(SCHEDULE)(8), None, [])
    )


def test_churn_draws_chance_for_each_sample_alone() -> None:
    x, times = torch.tensor([[40.0], [-10.0]]), karras_times(SCHEDULE)(6)
    both = sample(Churn(SCHEDULE), Mixture(SCHEDULE), x, times, None, [coins(1), coins(2)])
    one = sample(Churn(SCHEDULE), Mixture(SCHEDULE), x[1:], times, None, [coins(2)])
    torch.testing.assert_close(both[1:], one)


def test_a_network_learns_two_humps() -> None:
    torch.manual_seed(0)
    network, mixture = MLP(1, 1, width=32, depth=2), Mixture(SCHEDULE)
    x = mixture.draw(4000, coins())
    reached = taught(toy(KARRAS, network, x), 300, lr=5e-3)

    def ideal(c_in_x: Tensor, told: Tensor, cond: Any) -> Tensor:
        sigma = torch.exp(4 * told)
        level = SCHEDULE(SCHEDULE.time(-2 * sigma.log()))
        x_t = c_in_x * torch.hypot(sigma, torch.tensor(0.5))[:, None]
        mean = mixture(x_t, SCHEDULE.time(-2 * sigma.log())).mean
        return KARRAS.target.of(mean, level.eps(x_t, mean), level)

    least = KARRAS.loss(ideal, mixture.draw(20_000, coins(1)), None, coins(2)).mean().item()
    assert least * 0.95 < reached < least * 1.1
    assert moments(drawn(KARRAS, KARRAS.denoiser(network), 2000)) == pytest.approx(mixture.moments(), abs=0.1)


def test_sigma_data_is_measured_and_travels_with_the_bundle() -> None:
    """On white and black pixels in [-1, 1] it is 1; input and target have unit size with it, and not with 0.5."""
    black = torch.zeros(300, 4, 4, 4, dtype=torch.uint8)
    black[::2] = 255
    assert KARRAS.fit(Examples(black.numpy())) == {"sigma_data": 1.0}
    grey = Examples(torch.full((8, 4, 4, 4), 128, dtype=torch.uint8).numpy())
    assert KARRAS.fit(grey) == {"sigma_data": 0.01}  # never 0
    floats = Examples(0.877 * torch.randn(20_000, 2, generator=coins()))
    fitted: Any = method_for(SYSTEMS["edm"], floats)
    assert fitted.target.sigma_data == pytest.approx(0.877, rel=0.02)
    loss = fitted.loss(MLP(2, 2, width=4, depth=1), floats.pictures, Cond(), coins(1)).mean().item()
    assert loss == pytest.approx(1, abs=0.05)  # of a network that says nothing
    published: Any = KARRAS.with_settings({})  # of a bundle that does not say
    kept: Any = KARRAS.with_settings({"size_px": 32, "sigma_data": 0.877})
    assert kept.target.sigma_data == 0.877 and published.target.sigma_data == 0.5
    for wrong in ("much", 0, -1.0, float("inf"), True):
        with pytest.raises(SumiError, match="sigma_data in the settings should be a number above 0"):
            KARRAS.with_settings({"sigma_data": wrong})


@pytest.mark.parametrize("sigma", [0.02, 0.3, 1.0, 20.0])
def test_data_with_a_mean_are_measured_from_zero(sigma: float) -> None:
    """By the root mean square input and target have unit size at every level, and c_skip x_t errs least; not by sd."""
    x = -0.46 + 0.75 * torch.randn(50_000, 1, generator=coins())
    fitted: Any = method_for(SYSTEMS["edm"], Examples(x))
    assert fitted.target.sigma_data == pytest.approx((0.46**2 + 0.75**2) ** 0.5, rel=0.02)
    eps = torch.randn(len(x), 1, generator=coins(1))
    t = SCHEDULE.time(torch.tensor([sigma]).log().mul(-2)).expand(len(x))
    level = SCHEDULE(t)
    x_t = level.add_noise(x, eps)
    sizes = {}
    for name, target in (("rms", fitted.target), ("sd", EDMPrediction(0.75))):
        shown, wanted = target.scale_inputs(x_t, t, level)[0], target.of(x, eps, level)
        sizes[name] = [part.square().mean().item() for part in (shown, wanted)]
    assert sizes["rms"] == pytest.approx([1, 1], abs=0.03)
    skipped = fitted.target.mean(torch.zeros_like(x_t), x_t, level)
    least = (x.square().mean() / (x.square().mean() + sigma**2)).item()
    torch.testing.assert_close(skipped, least * x_t, rtol=0.02, atol=1e-4)
    if sigma < 0.1:
        assert sizes["sd"][0] > 1.3


class Shy(nn.Module):
    """Takes nine tenths of what it is shown for noise."""

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return 0.9 * x


def test_a_sheet_is_drawn_as_pictures_are() -> None:
    design = ddpm()
    network = Shy()
    lesson = DiffusionObjective("toy", network, design, torch.zeros(4, 4, 8, 8, dtype=torch.uint8).numpy())
    sheet = lesson.picture(network)
    quick = replace(design, sampler=DDIMSampler(design.schedule), times=uniform_times)
    pipeline = StagePipeline(quick.stage(quick.denoiser(network), threshold=Threshold()))
    pictures = drive_to_end(pipeline.sample(SampleRequest(range(16), 8, num_steps=20)))
    assert (
        sheet is not None
        and torch.equal(sheet[:, :8, :8], pictures[0])
        and torch.equal(sheet[:, 8:, -8:], pictures[15])
    )
    unclamped = StagePipeline(quick.stage(quick.denoiser(network)))
    assert not torch.equal(drive_to_end(unclamped.sample(SampleRequest(range(16), 8, num_steps=20))), pictures)
