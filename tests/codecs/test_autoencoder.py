import torch

from sumi.codecs import Autoencoder, autoencoder_loss


def tiny() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(4, 3, channels=(16, 32), blocks=(1, 1), decoder_blocks=(1, 1), patch=2)


def test_autoencoder_latents_have_the_documented_shape() -> None:
    codec = tiny()
    x = torch.rand(2, 4, 16, 24) * 2 - 1
    z = codec.encode(x)
    assert codec.factor == 4 and z.shape == (2, 3, 4, 6)
    assert codec.decode(z).shape == x.shape and codec.decode(z).abs().max() <= 1


def test_autoencoder_fit_latent_stats_gives_unit_variance_and_the_same_images() -> None:
    codec = tiny()
    x = torch.rand(8, 4, 16, 16) * 2 - 1
    before = codec.decode(codec.encode(x))
    codec.fit_latent_stats([x[:4], x[4:]])
    z = codec.encode(x)
    torch.testing.assert_close(z.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(codec.decode(z), before, atol=1e-4, rtol=1e-4)


def test_autoencoder_loss_kl_is_the_closed_form_of_two_gaussians() -> None:
    codec = tiny()
    x = torch.rand(2, 4, 16, 16) * 2 - 1
    mean, logvar = codec.posterior(x)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()
    found = autoencoder_loss(codec, x, torch.Generator().manual_seed(0), 1.0)["kl"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_autoencoder_loss_on_a_few_images_falls() -> None:
    codec, rng = tiny(), torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(4, 4, 4, 4, generator=rng) * 2 - 1, scale_factor=4)
    optimiser = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    first = last = 0.0
    for _step in range(60):
        parts = autoencoder_loss(codec, x, rng, 1e-4)
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        last = float(parts["psnr"])
        first = first or last
    assert last > first + 4, (first, last)
