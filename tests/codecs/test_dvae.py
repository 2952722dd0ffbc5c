"""A density that is one, a map and its inverse, throws that are as likely as they should be, and a book in use."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.codecs import DVAE, perplexity
from sumi.codecs.dvae import EPSILON, gumbel_softmax, kl_to_uniform, logit_laplace, map_pixels, unmap_pixels

COLOURS = 8
FLOOR = 6.0  # of 8 equally frequent colours, which is what could be used


def codec() -> DVAE:
    torch.manual_seed(0)
    return DVAE(4, [16], [1], codes=16, patch=4)


def pictures(count: int, rng: torch.Generator) -> Tensor:
    """Squares of 4 px, each of one of eight colours: what a word ought to be."""
    palette = 2 * torch.rand(COLOURS, 4, generator=torch.Generator().manual_seed(5)) - 1
    squares = palette[torch.randint(0, COLOURS, (count, 4, 4), generator=rng)].movedim(-1, 1)
    return F.interpolate(squares, scale_factor=4.0)


@pytest.mark.parametrize("mu", [-1.5, 0.0, 2.0])
@pytest.mark.parametrize("log_b", [-3.0, -1.0, 0.0])
def test_logit_laplace_density_integrates_to_one(mu: float, log_b: float) -> None:
    y = torch.linspace(0, 1, 2_000_001, dtype=torch.float64)[1:-1]
    density = logit_laplace(y, torch.tensor(mu).double(), torch.tensor(log_b).double()).exp()
    assert torch.trapezoid(density, y) == pytest.approx(1, abs=2e-3)


def test_logit_laplace_has_half_its_mass_below_the_median() -> None:
    y = torch.linspace(0, 1, 2_000_001, dtype=torch.float64)[1:-1]
    density = logit_laplace(y, torch.tensor(0.7).double(), torch.tensor(-1.0).double()).exp()
    below = y < torch.sigmoid(torch.tensor(0.7).double())
    assert torch.trapezoid(density[below], y[below]) == pytest.approx(0.5, abs=1e-3)


def test_logit_laplace_is_the_laplace_density_of_the_logit() -> None:
    """By the change of variable: p(y) = Laplace(logit y) · d logit y / dy."""
    y, mu, log_b = torch.rand(50).clamp(0.01, 0.99), torch.randn(50), torch.randn(50)
    laplace = torch.distributions.Laplace(mu, log_b.exp()).log_prob(torch.logit(y))
    torch.testing.assert_close(logit_laplace(y, mu, log_b), laplace + (1 / (y * (1 - y))).log(), atol=1e-4, rtol=1e-4)


def test_map_pixels_then_unmap_pixels_returns_the_pixels() -> None:
    x = torch.linspace(0, 1, 256)
    y = map_pixels(x)
    assert float(y.min()) == pytest.approx(EPSILON) and float(y.max()) == pytest.approx(1 - EPSILON) and EPSILON == 0.1
    torch.testing.assert_close(unmap_pixels(y), x)
    assert unmap_pixels(torch.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert ((255 * unmap_pixels(torch.sigmoid(torch.logit(y)))).round() == torch.arange(256)).all()


def test_gumbel_softmax_largest_share_is_distributed_as_the_softmax() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 100, 100)
    rng = torch.Generator().manual_seed(0)
    shares = gumbel_softmax(logits, 0.5, rng)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 100, 100))
    chosen = torch.bincount(shares.argmax(dim=1).flatten(), minlength=3) / 10_000
    torch.testing.assert_close(chosen, logits[0, :, 0, 0].softmax(0), atol=0.02, rtol=0)


def test_gumbel_softmax_at_low_tau_is_one_hot() -> None:
    logits = torch.randn(1, 5, 20, 20, generator=torch.Generator().manual_seed(1))
    sharpness = [
        float(gumbel_softmax(logits, tau, torch.Generator().manual_seed(2)).amax(dim=1).mean())
        for tau in (4.0, 1.0, 1 / 16)
    ]
    assert sharpness[0] < sharpness[1] < sharpness[2] and sharpness[2] > 0.95


def test_kl_to_uniform_is_0_for_uniform_and_log_k_for_certain() -> None:
    torch.testing.assert_close(kl_to_uniform(torch.zeros(1, 8, 1, 1)), torch.zeros(1, 1, 1), atol=1e-6, rtol=0)
    certain = 100 * F.one_hot(torch.tensor([[[3]]]), 8).movedim(-1, 1).float()
    torch.testing.assert_close(kl_to_uniform(certain), torch.full((1, 1, 1), math.log(8)))
    some = torch.randn(2, 8, 3, 3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=some.movedim(1, -1)),
        torch.distributions.Categorical(logits=torch.zeros(8)),
    )
    torch.testing.assert_close(kl_to_uniform(some), theirs, atol=1e-5, rtol=1e-5)


def test_dvae_losses_weigh_the_kl_from_0_at_the_start_to_its_full_weight() -> None:
    model, x = codec(), pictures(2, torch.Generator().manual_seed(3))
    for progress, weight in ((0.0, 0.0), (0.05, 3.3), (0.1, 6.6), (1.0, 6.6)):
        parts = model.losses(x, torch.Generator().manual_seed(4), progress)
        expected = parts["surprise"] + weight * parts["kl"] / (4 * 16 * 16)
        torch.testing.assert_close(parts["loss"], expected)


def test_codec_after_training_has_lower_loss_and_uses_its_codes() -> None:
    model, rng = codec().train(), torch.Generator().manual_seed(6)
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.99))
    steps = 500
    for step in range(steps):
        parts = model.losses(pictures(8, rng), rng, step / steps)
        optimiser.zero_grad()
        parts["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    x = pictures(64, rng)
    model.eval()
    tokens = model.encode(x)
    assert tokens.shape == (64, 4, 4) and model.factor == 4
    assert perplexity(tokens, 16) >= FLOOR
    assert (model.decode(tokens) - x).square().mean() < 0.15 * x.square().mean()


def test_codec_made_from_its_config_computes_the_same() -> None:
    model = codec()
    again = DVAE(**model.config)
    again.load_state_dict(model.state_dict())
    x = pictures(2, torch.Generator().manual_seed(7))
    assert torch.equal(again.encode(x), model.encode(x))


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 1.0), (0.375, 0.25), (0.75, 1 / 16), (1.0, 1 / 16)])
def test_dvae_tau_falls_from_1_to_a_sixteenth_over_three_quarters_of_training(progress: float, tau: float) -> None:
    """Ramesh et al. 2021, appendix A.2; what the decoder is shown is `relaxed` at that temperature."""
    model, x, given = codec(), pictures(2, torch.Generator().manual_seed(3)), list[Tensor]()
    model.decoder.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    model.losses(x, torch.Generator().manual_seed(4), progress)
    expected = gumbel_softmax(model.encoder(x), tau, torch.Generator().manual_seed(4))
    torch.testing.assert_close(given[0], expected, atol=1e-5, rtol=1e-4)
