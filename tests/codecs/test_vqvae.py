"""The nearest code, the gradient that passes it, and a book in which every code comes to be used."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.codecs import VQVAE, Codec, perplexity
from sumi.codecs.vqvae import straight_through

COLOURS = 8
FLOOR = 6.0  # of 8 equally frequent colours, which is what could be used


def codec(codes: int = 16) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(4, [16], [1], codes=codes, width=4, patch=4, decay=0.9)


def pictures(count: int, rng: torch.Generator) -> Tensor:
    """Squares of 4 px, each of one of eight colours: what a word ought to be."""
    palette = 2 * torch.rand(COLOURS, 4, generator=torch.Generator().manual_seed(5)) - 1
    squares = palette[torch.randint(0, COLOURS, (count, 4, 4), generator=rng)].movedim(-1, 1)
    return F.interpolate(squares, scale_factor=4.0)


def test_perplexity_of_even_use_is_the_number_of_codes_used() -> None:
    assert perplexity(torch.zeros(9, dtype=torch.int64), 5) == 1
    assert perplexity(torch.arange(5), 5) == pytest.approx(5)
    assert perplexity(torch.tensor([0, 0, 1, 1]), 5) == pytest.approx(2)
    assert perplexity(torch.tensor([0, 0, 0, 1]), 5) == pytest.approx(math.exp(0.5623351446))


def test_vqvae_encode_returns_the_nearest_codes() -> None:
    model = codec()
    model.codebook.copy_(torch.randn(16, 4, generator=torch.Generator().manual_seed(1)))
    x = pictures(3, torch.Generator().manual_seed(2))
    tokens = model.encode(x)
    assert tokens.shape == (3, 4, 4) and tokens.dtype == torch.int64 and model.factor == 4
    z = model.encoder(x).movedim(1, -1)
    distances = (z[..., None, :] - model.codebook).square().sum(dim=-1)
    assert torch.equal(tokens, distances.argmin(dim=-1))
    assert model.decode(tokens).shape == x.shape and model.decode(tokens).abs().max() <= 1
    assert not isinstance(model, Codec)  # tokens are no latents, and a diffusion model must not be given them


def test_straight_through_passes_the_gradient_to_z_unchanged() -> None:
    z = torch.randn(2, 3, requires_grad=True)
    chosen = torch.randn(2, 3)
    out = straight_through(z, chosen)
    torch.testing.assert_close(out, chosen)
    slope = torch.randn(2, 3)
    (out * slope).sum().backward()
    torch.testing.assert_close(z.grad, slope)


def test_vqvae_update_codebook_moves_codes_to_the_means_of_their_vectors() -> None:
    """On two clouds, running means end where k-means would: at the clouds' centres."""
    model, rng = codec(codes=2), torch.Generator().manual_seed(3)
    centres = torch.tensor([[-3.0, 0.0, 0.0, 1.0], [3.0, 0.0, 2.0, 0.0]])
    places = (centres[torch.arange(400) % 2] + 0.1 * torch.randn(400, 4, generator=rng)).view(4, 10, 10, 4)
    z = places.movedim(-1, 1)
    model.codebook.copy_(torch.tensor([[-1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    model.counts.fill_(200)
    for _step in range(100):
        model.update_codebook(z, model.nearest_codes(z))
    means = torch.stack([places.flatten(0, 2)[k::2].mean(dim=0) for k in (0, 1)])
    torch.testing.assert_close(model.codebook, means, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.counts, torch.full((2,), 200.0))


def test_vqvae_revive_dead_codes_moves_dead_codes_only() -> None:
    model, rng = codec(codes=4), torch.Generator().manual_seed(4)
    z = torch.randn(2, 4, 5, 5, generator=rng)
    model.codebook.copy_(torch.tensor([[0.0] * 4, [90.0] * 4, [91.0] * 4, [92.0] * 4]))
    model.counts.copy_(torch.tensor([50.0, 0.0, 0.0, 0.0]))
    assert perplexity(model.nearest_codes(z), 4) == 1
    model.revive_dead_codes(z, rng)
    assert torch.equal(model.codebook[0], torch.zeros(4))
    places = z.movedim(1, -1).flatten(0, 2)
    assert all((places == code).all(dim=1).any() for code in model.codebook[1:])
    assert perplexity(model.nearest_codes(z), 4) > 2.5


def test_codec_after_training_has_lower_loss_and_uses_its_codes() -> None:
    model, rng = codec().train(), torch.Generator().manual_seed(6)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _step in range(200):
        parts = model.losses(pictures(8, rng), rng)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
    x = pictures(64, rng)
    model.eval()
    book = model.codebook.clone()
    assert model.losses(x, rng)["perplexity"] >= FLOOR
    assert torch.equal(model.codebook, book), "only training moves the book"
    assert (model.decode(model.encode(x)) - x).square().mean() < 0.08 * x.square().mean()


def test_codec_made_from_its_config_computes_the_same() -> None:
    model = codec()
    model.codebook.normal_()
    again = VQVAE(**model.config)
    again.load_state_dict(model.state_dict())
    x = pictures(2, torch.Generator().manual_seed(7))
    assert torch.equal(again.encode(x), model.encode(x))


def test_vqvae_losses_weigh_the_commitment_by_a_quarter() -> None:
    """van den Oord et al. 2017, equation 3, with beta = 0.25 (section 4): alone, where the decoder hears nothing."""
    model, x = codec().eval(), pictures(2, torch.Generator().manual_seed(3))
    model.codebook.copy_(torch.randn(16, 4, generator=torch.Generator().manual_seed(1)))
    torch.nn.init.zeros_(model.decoder[0].weight)  # type: ignore[arg-type]
    z = model.encoder(x).detach()
    chosen = model.look_up(model.nearest_codes(z))
    kept: list[Tensor] = []
    model.encoder.register_forward_hook(lambda module, args, out: kept.append(out) or out.retain_grad())
    parts = model.losses(x, torch.Generator())
    assert parts["loss"].item() == pytest.approx((parts["pixels"] + 0.25 * (z - chosen).square().mean()).item())
    parts["loss"].backward()
    assert kept[0].grad is not None
    torch.testing.assert_close(kept[0].grad, 0.25 * 2 * (z - chosen) / z.numel())


def test_vqvae_by_default_has_the_published_commitment() -> None:
    from sumi.systems.vqvae import VQVAE_2017

    torch.manual_seed(0)
    assert VQVAE_2017.codec(16).commitment == 0.25  # type: ignore[comparison-overlap]
