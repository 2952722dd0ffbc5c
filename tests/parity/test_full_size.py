"""One step of the published networks at their full size, against diffusers on the very same weights."""

from __future__ import annotations

import pytest
import torch
from parity.reference import assert_equal, published_parts
from torch import Tensor, nn

from sumi.nn import Cond, published

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.nightly

PARTS = {f"{system}/{part}": config for system, part, config in published_parts()}


def filled(network: nn.Module) -> nn.Module:
    """Weights of about the scale that training gives them, in the order of their names, without a second copy."""
    rng = torch.Generator().manual_seed(0)
    weights = {}
    for name, empty in network.state_dict().items():
        drawn = torch.randn(empty.shape, generator=rng)
        if empty.ndim > 1:
            drawn *= empty[0].numel() ** -0.5
        else:
            drawn = 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)
        weights[name] = drawn
    network.load_state_dict(weights, assign=True)
    return network.eval()


def pair(part: str) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs, which share their tensors."""
    config = PARTS[part]
    name, arguments = config["_class_name"], {key: value for key, value in config.items() if not key.startswith("_")}
    with torch.device("meta"):
        ours, theirs = getattr(published, name)(**config), getattr(diffusers, name)(**arguments)
    filled(ours)
    theirs.load_state_dict(ours.state_dict(), assign=True)
    if hasattr(theirs, "causal_attention_mask"):  # not of the state, and so left on the meta device
        length = theirs.causal_attention_mask.shape[-1]
        theirs.causal_attention_mask = torch.full((1, length, length), -10000.0).triu(1)
    return ours, theirs.eval()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STEP, TIME = torch.tensor([601]), torch.tensor([0.602])


@torch.no_grad()
@pytest.mark.parametrize(
    "part", ["stable-diffusion-v1-5/unet", "stable-diffusion-2-1/unet", "stable-diffusion-xl-base-1.0/unet"]
)
def test_full_size_stable_diffusion_unet_equals_diffusers(part: str) -> None:
    ours, theirs = pair(part)
    width = PARTS[part]["cross_attention_dim"]
    x, words = normal(1, 4, 64, 64), normal(1, 77, width, seed=2)
    if part.startswith("stable-diffusion-xl"):
        pooled, sizes = normal(1, 1280, seed=3), torch.tensor([[512.0, 512, 0, 0, 512, 512]])
        added = {"text_embeds": pooled, "time_ids": sizes}
        expected = theirs(x, STEP, words, added_cond_kwargs=added).sample
        assert_equal(ours(x, TIME, Cond(torch.cat([pooled, sizes], dim=1), words)), expected)
    else:
        assert_equal(ours(x, TIME, Cond(tokens=words)), theirs(x, STEP, words).sample)


@torch.no_grad()
def test_full_size_karlo_decoder_equals_diffusers() -> None:
    ours, theirs = pair("karlo-v1-alpha/decoder")
    x, words, vector = normal(1, 3, 64, 64), normal(1, 81, 1536, seed=2), normal(1, 1280, seed=3)
    mask = torch.arange(81)[None] < 20
    expected = theirs(x, STEP, words, class_labels=vector, attention_mask=mask).sample
    assert_equal(ours(x, TIME, Cond(vector, words, mask)), expected)


@torch.no_grad()
def test_full_size_karlo_super_resolution_equals_diffusers() -> None:
    ours, theirs = pair("karlo-v1-alpha/super_res_first")
    x, small = normal(1, 3, 64, 64), normal(1, 3, 64, 64, seed=2)
    assert_equal(ours(x, TIME, Cond(concat=small)), theirs(torch.cat([x, small], dim=1), STEP).sample)


@torch.no_grad()
@pytest.mark.parametrize("part", ["karlo-v1-alpha/prior", "kandinsky-2-2-prior/prior"])
def test_full_size_prior_equals_diffusers(part: str) -> None:
    ours, theirs = pair(part)
    size, mask = PARTS[part]["embedding_dim"], torch.arange(77)[None] < 9
    x, text, words = normal(1, size), normal(1, size, seed=2), normal(1, 77, size, seed=3)
    expected = theirs(x, STEP, text, words, mask).predicted_image_embedding
    assert_equal(ours(x, TIME, Cond(text, words, mask)), expected)


@torch.no_grad()
def test_full_size_kandinsky_decoder_equals_diffusers() -> None:
    ours, theirs = pair("kandinsky-2-2-decoder/unet")
    x, embed = normal(1, 4, 64, 64), normal(1, 1280, seed=2)
    expected = theirs(x, STEP, None, added_cond_kwargs={"image_embeds": embed}).sample
    assert_equal(ours(x, TIME, Cond(embed)), expected)


@torch.no_grad()
def test_full_size_codecs_equal_diffusers() -> None:
    picture, latents = normal(1, 3, 128, 128).clamp(-1, 1), normal(1, 4, 32, 32, seed=2)
    ours, theirs = pair("stable-diffusion-v1-5/vae")
    assert_equal(ours.encode(picture), 0.18215 * theirs.encode(picture).latent_dist.mean)
    assert_equal(ours.decode(latents), theirs.decode(latents / 0.18215).sample.clamp(-1, 1))
    ours, theirs = pair("kandinsky-2-2-decoder/movq")
    assert_equal(ours.encode(picture), theirs.encode(picture).latents)
    assert_equal(ours.decode(latents), theirs.decode(latents, force_not_quantize=True).sample.clamp(-1, 1))
