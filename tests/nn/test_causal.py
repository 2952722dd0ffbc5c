"""Streams read whole and read piece by piece give the same answers, and none hangs on its future."""

import pytest
import torch
from torch import Tensor, nn

from sumi.nn import ARPriorNetwork, CausalTransformer, Cond, TokenTransformer

TEXT, IMAGE, SIDE, CONTEXT, DIMS, BUCKETS = 20, 30, 4, 5, 6, 16


def woken(network: nn.Module) -> nn.Module:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=rng))
    return network.double().eval()


def dalle() -> TokenTransformer:
    network = woken(TokenTransformer(TEXT, CONTEXT, IMAGE, SIDE, width=16, depth=5, heads=2, kernel=3))
    assert isinstance(network, TokenTransformer)
    return network


def prior() -> ARPriorNetwork:
    network = woken(ARPriorNetwork(8, 7, CONTEXT, DIMS, BUCKETS, width=16, depth=2, heads=2))
    assert isinstance(network, ARPriorNetwork)
    return network


def stream() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(1, TEXT, (2, CONTEXT), generator=rng)
    ids[:, 3:] = 0
    return ids, torch.randint(0, IMAGE, (2, SIDE * SIDE), generator=rng)


def test_causal_transformer_with_a_mask_that_is_not_causal_raises() -> None:
    with pytest.raises(ValueError, match="must be lower triangular"):
        CausalTransformer(8, 2, [torch.ones(3, 3, dtype=torch.bool)])


@pytest.mark.parametrize("given", [0, 1, SIDE, 9])
def test_token_transformer_with_its_cache_equals_the_whole_sequence_at_once(given: int) -> None:
    network, (ids, image) = dalle(), stream()
    _, whole = network(ids, image[:, :-1])
    logits, past = network.begin(ids, image[:, :given])
    for place in range(given, SIDE * SIDE):
        torch.testing.assert_close(logits, whole[:, place], atol=1e-12, rtol=1e-12)
        if place + 1 < SIDE * SIDE:
            logits, past = network.step(image[:, place], past)


def test_a_token_of_dalle_changes_only_what_comes_after_it() -> None:
    network, (ids, image) = dalle(), stream()
    words, pixels = network(ids, image[:, :-1])
    changed = image.clone()
    changed[:, 6] = (changed[:, 6] + 1) % IMAGE
    other_words, other_pixels = network(ids, changed[:, :-1])
    assert torch.equal(words, other_words)
    different = (pixels - other_pixels).abs().amax(dim=(0, 2)) > 1e-9
    assert different.nonzero().flatten().tolist() == list(range(7, SIDE * SIDE))


def test_every_word_reaches_every_place_of_the_picture_and_padding_knows_its_place() -> None:
    network, (ids, image) = dalle(), stream()
    other = ids.clone()
    other[:, 2] = ids[:, 2] % (TEXT - 1) + 1
    moved = (network(ids, image[:, :-1])[1] - network(other, image[:, :-1])[1]).abs().amax(dim=(0, 2))
    assert moved.min() > 1e-6
    silent, _ = network(torch.zeros_like(ids), image[:, :1])
    assert (silent[:, 3] - silent[:, 4]).abs().max() > 1e-3


def test_ar_prior_with_its_cache_equals_the_whole_sequence_at_once() -> None:
    network, rng = prior(), torch.Generator().manual_seed(2)
    cond = Cond(
        vector=torch.randn(2, 8, generator=rng).double(), tokens=torch.randn(2, CONTEXT, 7, generator=rng).double()
    )
    words = torch.randint(0, BUCKETS, (2, 1 + DIMS), generator=rng)
    whole = network(words[:, :-1], cond)
    assert whole.shape == (2, 1 + DIMS, BUCKETS)
    logits, past = network.begin(cond, words[:, :1])
    for place in range(1, 1 + DIMS):
        torch.testing.assert_close(logits, whole[:, place], atol=1e-12, rtol=1e-12)
        if place < DIMS:
            logits, past = network.step(words[:, place], past)
    for name in ("vector", "tokens"):
        silent = Cond(**{**vars(cond), name: torch.zeros_like(getattr(cond, name))})
        assert (network(words[:, :-1], silent) - whole).abs().amax(dim=(0, 2)).min() > 1e-6, name


def test_token_network_made_from_its_config_computes_the_same() -> None:
    for network in (dalle(), prior()):
        again = type(network)(**network.config).double()
        again.load_state_dict(network.state_dict())
        assert not [name for name in network.state_dict() if "mask" in name]


def test_token_network_without_its_condition_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="5 text ids and fewer than 16 image ids"):
        dalle()(torch.ones(1, 4), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="for no condition pass zeros"):
        prior()(torch.zeros(1, 1), Cond())
    with pytest.raises(ValueError, match="2 layers need 2 patterns, not 1"):
        TokenTransformer(2, 2, 2, 2, 8, 2, 1, patterns=["row"])
