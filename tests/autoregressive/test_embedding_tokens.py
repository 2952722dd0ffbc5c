"""Principal components against a spectrum that is known, and words that lose less than a hundredth."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.autoregressive import EmbeddingTokens, principal_axes
from sumi.diffusion import seeded
from sumi.errors import SumiError
from sumi.nn import ARPriorNetwork

SIZE, COUNT = 48, 4_000
SPECTRUM = 0.8 ** torch.arange(SIZE).double()  # halves every three components


def rotation() -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(SIZE, SIZE, generator=rng, dtype=torch.float64))[0]


def embeddings(count: int = COUNT, seed: int = 1) -> Tensor:
    """Gaussian with that spectrum along axes that are turned, about a point that is not zero."""
    rng = torch.Generator().manual_seed(seed)
    along = torch.randn(count, SIZE, generator=rng, dtype=torch.float64) * SPECTRUM.sqrt()
    return (along @ rotation().T + 2.0).float()


def pairs(count: int = COUNT, seed: int = 1) -> tuple[Tensor, Tensor]:
    z_i = F.normalize(embeddings(count, seed), dim=-1)
    noise = torch.randn(z_i.shape, generator=torch.Generator().manual_seed(seed + 1))
    return z_i, F.normalize(z_i + 0.1 * noise, dim=-1)


def test_principal_axes_of_constructed_data_are_its_axes_and_variances() -> None:
    mean, axes, variances = principal_axes(embeddings())
    torch.testing.assert_close(mean, torch.full_like(mean, 2.0), atol=0.1, rtol=0)
    torch.testing.assert_close(variances, SPECTRUM, atol=0, rtol=0.2)
    assert (variances.diff() <= 0).all()
    assert ((axes[:3] * rotation()[:, :3].T).sum(dim=1).abs() > 0.95).all()
    torch.testing.assert_close(axes @ axes.T, torch.eye(SIZE, dtype=torch.float64), atol=1e-8, rtol=0)


def test_embedding_tokens_fit_keeps_as_few_components_as_lose_a_hundredth() -> None:
    """Of this spectrum the components past d hold 0.8^d of the variance: 0.8^21 is 0.0092, 0.8^20 is 0.0115."""
    z = embeddings()
    assert EmbeddingTokens.fit(z, z, buckets=4).dims == 21
    assert EmbeddingTokens.fit(z, z, buckets=4, lost=0.5).dims in (3, 4)
    assert EmbeddingTokens.fit(z, z, buckets=4, dims=7).dims == 7


def test_embedding_tokens_round_trip_of_new_embeddings_loses_under_a_hundredth() -> None:
    words = EmbeddingTokens.fit(*pairs(), buckets=1024)
    z_i, z_t = pairs(500, seed=9)
    back = words.decode(words.encode(z_i, z_t))
    error = (back - z_i).square().sum(dim=1).mean()
    assert error < 0.01 * z_i.square().sum(dim=1).mean()
    assert error < 0.012 * (z_i - z_i.mean(dim=0)).square().sum(dim=1).mean()  # and of what differs between them
    torch.testing.assert_close(back.norm(dim=-1), torch.ones(500))


def test_embedding_tokens_decode_is_within_half_a_bucket() -> None:
    z_i, z_t = pairs()
    words = EmbeddingTokens.fit(z_i, z_t, buckets=16)
    place = (words.encode(z_i, z_t)[:, 1:] + 0.5) / 16 * (words.high - words.low) + words.low
    true = (z_i - words.mean) @ words.axes.T
    assert ((place - true).abs() <= (words.high - words.low) / 32 + 1e-6).all()


def test_embedding_tokens_decode_of_more_tokens_is_closer() -> None:
    """As the words of an embedding come, what is known of it draws nearer to it; before them it is the mean."""
    z_i, z_t = pairs(500)
    words = EmbeddingTokens.fit(z_i, z_t, buckets=1024)
    said = words.encode(z_i, z_t)
    errors = [float((words.decode(said[:, : 1 + known]) - z_i).square().mean()) for known in (0, 1, 3, 9, words.dims)]
    assert errors == sorted(errors, reverse=True)
    torch.testing.assert_close(words.decode(said[:1, :1])[0], F.normalize(words.mean, dim=-1))


def test_embedding_tokens_encode_under_autocast_is_the_same() -> None:
    z_i, z_t = pairs(200)
    words = EmbeddingTokens.fit(z_i, z_t, buckets=1024)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = words.encode(z_i, z_t)
    assert torch.equal(coarse, words.encode(z_i, z_t))


def test_embedding_tokens_of_cosines_are_equally_frequent_and_ordered() -> None:
    z_i, z_t = pairs()
    near = EmbeddingTokens.fit(z_i, z_t, buckets=8).encode(z_i, z_t)[:, 0]
    assert (torch.bincount(near, minlength=8) - COUNT / 8).abs().max() <= 2
    cosine = F.cosine_similarity(z_i, z_t)
    assert all(cosine[near == k].max() <= cosine[near == k + 1].min() for k in range(7))


def test_sample_nearness_draws_from_all_of_the_top_half() -> None:
    words = EmbeddingTokens.fit(*pairs(200), buckets=8)
    drawn = words.sample_nearness(seeded(range(300)))
    assert drawn.shape == (300, 1) and set(drawn.flatten().tolist()) == {4, 5, 6, 7}
    assert torch.equal(drawn[7:8], words.sample_nearness(seeded([7])))


def test_embedding_tokens_stored_in_a_network_are_read_back() -> None:
    words = EmbeddingTokens.fit(*pairs(200), buckets=8, dims=5)
    network = ARPriorNetwork(SIZE, 4, 3, words.dims, words.buckets, 8, 1, 1)
    words.store_in(network)
    again = EmbeddingTokens.from_network(network)
    z_i, z_t = pairs(20, seed=5)
    assert torch.equal(again.encode(z_i, z_t), words.encode(z_i, z_t))


def test_embedding_tokens_fit_on_too_little_data_raises() -> None:
    with pytest.raises(SumiError, match="at least two pairs"):
        EmbeddingTokens.fit(torch.ones(1, 4), torch.ones(1, 4))
    with pytest.raises(SumiError, match="buckets must be at least 2"):
        EmbeddingTokens.fit(torch.ones(3, 4), torch.ones(3, 4), buckets=1)
