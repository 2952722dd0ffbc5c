from typing import Any

import pytest
import torch
from torch import nn

from sumi.nn import (
    Cond,
    ConvNeXtDecoder,
    DecoderNetwork,
    DenseDecoder,
    DensePrior,
    EmbeddingDenoiser,
    PriorNetwork,
    SuperResolutionNetwork,
    TextTransformer,
    UNet,
)

TEXT = {"vocabulary_size": 50, "context": 6, "width": 16, "depth": 1, "heads": 2}
UNET = {
    "in_channels": 3, "out_channels": 3, "channels": [16, 32], "blocks": [1, 1], "attention": [False, True],
    "head_width": 16, "middle": 1, "embedding_width": 32,
}  # fmt: skip


def woken(network: nn.Module) -> nn.Module:
    """Random weights everywhere: zero-initialised layers would hide what they are connected to."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return network.eval()


def networks() -> list[tuple[nn.Module, torch.Tensor, Cond]]:
    rng = torch.Generator().manual_seed(1)
    words = torch.randn(2, 6, 7, generator=rng)
    picture, vector = torch.randn(2, 3, 8, 8, generator=rng), torch.randn(2, 10, generator=rng)
    return [
        (
            UNet(**UNET, vector_width=10, context_width=4),
            picture,
            Cond(vector, torch.randn(2, 5, 4, generator=rng)),
        ),
        (
            UNet(**UNET, concat_channels=3, patch=2),
            picture,
            Cond(concat=torch.randn(2, 3, 8, 8, generator=rng)),
        ),
        (DecoderNetwork(10, 7, UNET, draft=(2, 8, 8)), picture, Cond(vector, words)),
        (DenseDecoder(3, 8, 10, 7, width=16, depth=2, cond_width=12, refiner=(16, 1)), picture, Cond(vector, words)),
        (ConvNeXtDecoder(3, 8, 10, 7, 16, 2, (16, 1), [0.5, 1.0, 2.0], 12, 2), picture, Cond(vector, words)),
        (PriorNetwork(10, 7, 6, 16, 1, 2), vector, Cond(vector.flip(0), torch.randn(2, 6, 7, generator=rng))),
        (DensePrior(10, 7, 16, 2, 12, 3), vector, Cond(vector.flip(0), torch.randn(2, 6, 7, generator=rng))),
    ]


@pytest.mark.parametrize("case", range(7))
def test_network_answer_depends_on_the_time_and_each_slot_of_the_condition(case: int) -> None:
    network, x, cond = networks()[case]
    woken(network)
    t = torch.tensor([0.2, 0.8])
    out = network(x, t, cond)
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, t.flip(0), cond))
    for name in ("vector", "tokens", "concat"):
        slot = getattr(cond, name)
        if slot is not None:
            silent = Cond(**{**vars(cond), name: torch.zeros_like(slot)})
            assert not torch.allclose(out, network(x, t, silent)), name


@pytest.mark.parametrize("case", range(7))
def test_network_answer_for_an_example_does_not_depend_on_the_batch(case: int) -> None:
    network, x, cond = networks()[case]
    woken(network)
    t = torch.tensor([0.2, 0.8])
    alone = torch.cat([network(x[k : k + 1], t[k : k + 1], cond[k : k + 1]) for k in (0, 1)])
    torch.testing.assert_close(network(x, t, cond), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", range(7))
def test_network_made_from_its_config_computes_the_same(case: int) -> None:
    network, x, cond = networks()[case]
    woken(network)
    config: dict[str, Any] = network.config  # type: ignore[assignment]
    again = type(network)(**config).eval()
    again.load_state_dict(network.state_dict())
    t = torch.tensor([0.5, 0.5])
    torch.testing.assert_close(again(x, t, cond), network(x, t, cond))


@pytest.mark.parametrize("sizes", [(8, 16), (16, 64), (4, 20)])
def test_unet_as_upsampler_takes_any_pair_of_sizes(sizes: tuple[int, int]) -> None:
    small, large = sizes
    network = woken(UNet(**UNET, concat_channels=3))
    x = torch.randn(1, 3, large, large)
    low = torch.nn.functional.interpolate(torch.randn(1, 3, small, small), size=(large, large))
    assert network(x, torch.rand(1), Cond(concat=low)).shape == x.shape


def test_unet_when_new_answers_zero() -> None:
    network = UNet(**UNET)
    assert network(torch.randn(1, 3, 8, 8), torch.rand(1), Cond()).abs().max() == 0


def test_convnext_decoder_begins_with_the_best_linear_estimate() -> None:
    """Of x from x_t = (1 - t) x + t eps: the regression E[x x_t] / E[x_t^2] of each channel by itself."""
    network, d = ConvNeXtDecoder(3, 8, 10, 7, 16, 1, deviations=[0.5, 1.0, 3.0]), torch.tensor([0.5, 1.0, 3.0])
    x_t, t = torch.randn(4, 3, 8, 8), torch.tensor([0.0, 0.2, 0.7, 1.0])
    cond = Cond(torch.randn(4, 10), torch.randn(4, 5, 7))
    slope = ((1 - t)[:, None] * d**2) / (((1 - t)[:, None] * d) ** 2 + t[:, None] ** 2)
    torch.testing.assert_close(network(x_t, t, cond), slope[:, :, None, None] * x_t)
    again = ConvNeXtDecoder(**network.config)
    assert torch.equal(again(x_t, t, cond), network(x_t, t, cond)), "the deviations are part of the configuration"


def test_convnext_decoder_sees_and_answers_at_unit_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, d = ConvNeXtDecoder(2, 32, 10, 7, 16, 1, deviations=[0.5, 3.0]), torch.tensor([0.5, 3.0])[:, None, None]
    network.requires_grad_(False)
    x, eps, t = d * torch.randn(8, 2, 32, 32), torch.randn(8, 2, 32, 32), torch.tensor([0.1, 0.6]).repeat(4)
    noise = t[:, None, None, None]
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(network, "_answer", lambda y, draft, t, c: (seen.append(y), torch.zeros_like(y))[1])
    estimate = network((1 - noise) * x + noise * eps, t, Cond(torch.zeros(8, 10), torch.zeros(8, 5, 7)))
    r = (((1 - noise) * d) ** 2 + noise**2).sqrt()
    for channel in range(2):
        assert seen[0][:, channel].std() == pytest.approx(1, abs=0.05)
        assert ((x - estimate) * r / (noise * d))[:, channel].std() == pytest.approx(1, abs=0.05)


def test_convnext_decoder_answers_with_its_draft_where_there_is_nothing_but_noise() -> None:
    network = ConvNeXtDecoder(3, 8, 10, 7, 16, 1, deviations=[0.5, 1.0, 3.0])
    torch.nn.init.normal_(network.draft.proj_out.weight)
    cond = Cond(torch.randn(2, 10), torch.randn(2, 5, 7))
    draft = network.draft(cond)
    torch.testing.assert_close(network(torch.randn(2, 3, 8, 8), torch.ones(2), cond), draft)
    assert draft[0].std() > 0 and not torch.allclose(draft[0], draft[1])
    x_t = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network(x_t, torch.full((2,), 1e-4), cond), x_t, atol=1e-2, rtol=1e-2)


def test_decoder_and_prior_without_a_condition_name_what_is_missing() -> None:
    decoder, dense, convnext, prior = (
        DecoderNetwork(10, 7, UNET),
        DenseDecoder(3, 8, 10, 7, 16, 1),
        ConvNeXtDecoder(3, 8, 10, 7, 16, 1),
        PriorNetwork(10, 7, 6, 16, 1, 2),
    )
    for network in (decoder, dense, convnext):
        with pytest.raises(ValueError, match="for no condition pass zeros"):
            network(torch.zeros(1, 3, 8, 8), torch.zeros(1), Cond())
    for one in (prior, DensePrior(10, 7, 16, 1)):
        with pytest.raises(ValueError, match="for no condition pass zeros"):
            one(torch.zeros(1, 10), torch.zeros(1), Cond())


@pytest.mark.parametrize("prior", [PriorNetwork(10, 7, 6, 16, 1, 2), DensePrior(10, 7, 16, 1)])
def test_prior_denormalise_inverts_normalise_at_unit_length(prior: EmbeddingDenoiser) -> None:
    prior.mean.copy_(torch.randn(10))
    prior.std.copy_(torch.rand(10) + 0.5)
    z_i = torch.nn.functional.normalize(torch.randn(4, 10), dim=-1)
    torch.testing.assert_close(prior.denormalise(prior.normalise(z_i)), z_i)


def test_text_transformer_of_another_word_order_differs() -> None:
    text = woken(TextTransformer(**TEXT))
    ids = torch.tensor([[1, 2, 3, 0, 0, 0]])
    assert not torch.allclose(text(ids).sum(1), text(ids[:, [1, 0, 2, 3, 4, 5]]).sum(1))


def test_super_resolution_when_new_returns_the_enlarged_image_at_any_noise_and_time() -> None:
    network = SuperResolutionNetwork(4, (8, 8), (1, 1), factor=2)
    small, t = torch.randn(2, 4, 16, 16), torch.zeros(2)
    assert torch.equal(network(torch.randn(2, 4, 16, 16), t, Cond(concat=small)), small), (
        "its last layer starts at zero"
    )
    woken(network)
    answer = network(torch.randn(2, 4, 16, 16), t, Cond(concat=small))
    assert torch.equal(answer, network(torch.zeros(2, 4, 16, 16), t + 1, Cond(concat=small)))
    assert not torch.allclose(answer, network(torch.zeros(2, 4, 16, 16), t, Cond(concat=small.flip(0))))


def test_super_resolution_answer_for_a_surface_does_not_depend_on_distant_pixels() -> None:
    network = woken(SuperResolutionNetwork(4, (8, 8), (1, 1), factor=2))
    plain = torch.zeros(1, 4, 64, 64)
    busy = plain.clone()
    busy[..., 40:, 40:] = torch.randn(1, 4, 24, 24)
    far = (..., slice(0, 16), slice(0, 16))
    one, other = (network(x, torch.zeros(1), Cond(concat=x))[far] for x in (plain, busy))
    torch.testing.assert_close(one, other, msg="normalisation would couple them")
