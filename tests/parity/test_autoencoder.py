from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import assert_equal, load, randomised

from sumi.codecs import Codec
from sumi.nn.published import AutoencoderKL, VQModel

diffusers = pytest.importorskip("diffusers")

KL: dict[str, Any] = {
    "block_out_channels": [8, 16, 16], "down_block_types": ["DownEncoderBlock2D"] * 3, "layers_per_block": 2,
    "norm_num_groups": 4, "up_block_types": ["UpDecoderBlock2D"] * 3, "scaling_factor": 0.5,
}  # fmt: skip
MOVQ: dict[str, Any] = {
    "block_out_channels": [32, 64], "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
    "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"], "layers_per_block": 1, "latent_channels": 4,
    "num_vq_embeddings": 12, "vq_embed_dim": 4, "norm_type": "spatial",
}  # fmt: skip


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_autoencoder_kl_equals_diffusers(tmp_path: Path, pictures: torch.Tensor) -> None:
    theirs = randomised(diffusers.AutoencoderKL(**KL))
    theirs.save_pretrained(tmp_path)
    ours = load(AutoencoderKL, tmp_path)
    expected = theirs.encode(pictures).latent_dist
    mean, logvar = ours.posterior(pictures)
    assert_equal(mean, expected.mean)
    assert_equal(logvar, expected.logvar)
    assert_equal(ours.encode(pictures), 0.5 * expected.mean)
    assert_equal(ours.decode(0.5 * expected.mean), theirs.decode(expected.mean).sample.clamp(-1, 1))


@torch.no_grad()
@pytest.mark.parametrize("norm", ["spatial", "group"])
def test_movq_equals_diffusers(tmp_path: Path, pictures: torch.Tensor, norm: str) -> None:
    theirs = randomised(diffusers.VQModel(**MOVQ | {"norm_type": norm}))
    theirs.save_pretrained(tmp_path)
    ours = load(VQModel, tmp_path)
    latents = theirs.encode(pictures).latents
    assert_equal(ours.encode(pictures), latents)
    assert_equal(ours.decode(latents), theirs.decode(latents, force_not_quantize=True).sample.clamp(-1, 1))
    assert_equal(ours.quantize(latents), theirs.quantize(latents)[0])


def test_published_codecs_are_codecs(tmp_path: Path) -> None:
    diffusers.AutoencoderKL(**KL).save_pretrained(tmp_path / "kl")
    diffusers.VQModel(**MOVQ).save_pretrained(tmp_path / "movq")
    codecs = [load(AutoencoderKL, tmp_path / "kl"), load(VQModel, tmp_path / "movq")]
    assert all(isinstance(codec, Codec) for codec in codecs)
    assert [(codec.latent_channels, codec.factor) for codec in codecs] == [(4, 4), (4, 2)]
