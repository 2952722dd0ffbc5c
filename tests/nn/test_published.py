"""The published networks by themselves; `tests/parity` holds them to the libraries that published them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sumi.nn import Cond, published

UNET: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "block_out_channels": [16, 32], "norm_num_groups": 4, "layers_per_block": 1,
    "cross_attention_dim": 12, "attention_head_dim": 4,
}  # fmt: skip
LATENT = UNET | {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 10 + 48,
}  # fmt: skip
PIXEL = UNET | {
    "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
    "up_block_types": ["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "resnet_time_scale_shift": "scale_shift",
}  # fmt: skip
KANDINSKY = PIXEL | {
    "addition_embed_type": "image", "encoder_hid_dim": 16, "encoder_hid_dim_type": "image_proj", "out_channels": 8,
}  # fmt: skip
PLAIN = {
    "in_channels": 8, "out_channels": 4, "block_out_channels": [16, 32], "norm_num_groups": 4, "layers_per_block": 1,
    "down_block_types": ["ResnetDownsampleBlock2D"] * 2, "up_block_types": ["ResnetUpsampleBlock2D"] * 2,
    "add_attention": False,
}  # fmt: skip
PRIOR = {"embedding_dim": 16, "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "num_embeddings": 6}
MASK = torch.tensor([[True] * 6, [True, True, True, False, False, False]])


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def woken(network: nn.Module) -> nn.Module:
    """Numbers where a layer starts with constants."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim < 2 or not weight.count_nonzero():
                weight.add_(0.2 * torch.randn(weight.shape, generator=rng))
    return network.eval()


def cases() -> dict[str, tuple[nn.Module, Tensor, Cond]]:
    torch.manual_seed(0)
    picture, words, vector = normal(2, 4, 8, 8, seed=1), normal(2, 6, 12, seed=2), normal(2, 16, seed=3)
    karlo = PIXEL | {"class_embed_type": "identity"}
    unclip = LATENT | {"addition_embed_type": None, "class_embed_type": "projection"}
    return {
        "sdxl": (published.UNet2DConditionModel(**LATENT), picture, Cond(vector, words)),
        "stable unclip": (published.UNet2DConditionModel(**unclip), picture, Cond(normal(2, 58, seed=4), words)),
        "karlo": (published.UNet2DConditionModel(**karlo), picture, Cond(normal(2, 64, seed=4), words, MASK)),
        "kandinsky": (published.UNet2DConditionModel(**KANDINSKY), picture, Cond(vector)),
        "super-resolution": (published.UNet2DModel(**PLAIN), picture, Cond(concat=normal(2, 4, 8, 8, seed=5))),
        "prior": (published.PriorTransformer(**PRIOR), vector, Cond(vector.flip(0), normal(2, 6, 16, seed=6), MASK)),
    }


@torch.no_grad()
@pytest.mark.parametrize("name", cases())
def test_published_network_hears_its_time_and_each_slot_of_its_condition(name: str) -> None:
    network, x, cond = cases()[name]
    woken(network)
    t = torch.tensor([0.2, 0.8])
    out = network(x, t, cond)
    others = [network(x, t.flip(0), cond)]
    for slot in ("vector", "tokens", "concat"):
        if (value := getattr(cond, slot)) is not None:
            others.append(network(x, t, Cond(**{**vars(cond), slot: value + 1})))
    if cond.mask is not None:
        others.append(network(x, t, Cond(cond.vector, cond.tokens)))
    assert all(float((other - out).abs().max()) > 1e-4 for other in others)


@torch.no_grad()
@pytest.mark.parametrize("name", cases())
def test_published_network_in_bfloat16_takes_float32_and_stays_near_it(name: str) -> None:
    network, x, cond = cases()[name]
    woken(network)
    t = torch.tensor([0.2, 0.8])
    expected = network(x, t, cond)
    out = network.bfloat16()(x, t, cond)
    assert out.dtype == torch.bfloat16
    assert float((out.float() - expected).abs().mean()) < 0.05 * float(expected.abs().mean())


@torch.no_grad()
@pytest.mark.parametrize("name", ["karlo", "prior"])
def test_masked_tokens_do_not_reach_the_answer(name: str) -> None:
    network, x, cond = cases()[name]
    woken(network)
    assert cond.tokens is not None and cond.mask is not None
    noise = torch.where(cond.mask[..., None], 0.0, 100.0)
    t = torch.tensor([0.2, 0.8])
    torch.testing.assert_close(network(x, t, Cond(cond.vector, cond.tokens + noise, cond.mask)), network(x, t, cond))


@pytest.mark.parametrize("name", ["sdxl", "karlo", "kandinsky", "prior"])
def test_published_network_without_its_condition_says_what_it_needs(name: str) -> None:
    network, x, _ = cases()[name]
    with pytest.raises(ValueError, match=r"needs cond\."):
        network(x, torch.tensor([0.2, 0.8]), Cond())
