"""PatchPCA is the best linear codec: exact with all components, and as good as the eigenvalues say with fewer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.codecs import Codec, PatchPCA


@pytest.fixture
def images() -> Tensor:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 4, 4, 4, generator=rng) * 1.6 - 0.8
    fine = 0.1 * torch.rand(64, 4, 16, 16, generator=rng)
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear") + fine


def fitted(images: Tensor, components: int) -> PatchPCA:
    codec = PatchPCA(4, components, factor=4)
    codec.fit(images)
    return codec


def test_patch_pca_with_all_components_is_exact(images: Tensor) -> None:
    codec = fitted(images, 64)
    assert isinstance(codec, Codec)
    torch.testing.assert_close(codec.decode(codec.encode(images)), images, atol=1e-5, rtol=0)


def test_patch_pca_loses_the_variance_of_the_components_left_out(images: Tensor) -> None:
    codec = fitted(images, 10)
    error = (codec.decode(codec.encode(images)) - images).square().sum() / images[:, 0, ::4, ::4].numel()
    squares = torch.nn.functional.pixel_unshuffle(images - images.mean((0, 2, 3))[:, None, None], 4)
    values = squares.permute(0, 2, 3, 1).flatten(0, 2)
    variances = torch.linalg.eigvalsh(values.T @ values / len(values))
    torch.testing.assert_close(error, variances[:-10].sum(), rtol=1e-3, atol=0)


def test_patch_pca_beats_block_averages_of_as_many_numbers(images: Tensor) -> None:
    codec = fitted(images, 16)
    averages = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    error = (codec.decode(codec.encode(images)) - images).square().mean()
    assert error < 0.9 * (averages - images).square().mean()


def test_patch_pca_latents_have_unit_variance_and_fall_as_the_square_root(images: Tensor) -> None:
    codec = fitted(images, 16)
    latents = codec.encode(images)
    assert latents.shape == (64, 16, 4, 4)
    squared = latents.square().mean((0, 2, 3))
    assert squared.mean().item() == pytest.approx(1, rel=1e-3)
    raw = squared.sqrt() * codec.scale
    torch.testing.assert_close(squared / squared[0], raw / raw[0], rtol=1e-3, atol=0)


def test_patch_pca_decodes_within_the_range_of_images(images: Tensor) -> None:
    drawn = fitted(images, 16).decode(9 * torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(1)))
    assert drawn.shape == (2, 4, 16, 16) and drawn.abs().max() <= 1


def test_deviations_are_those_of_the_latents() -> None:
    torch.manual_seed(0)
    images = (torch.randn(64, 4, 1, 1) * 0.3 + 0.05 * torch.randn(64, 4, 32, 32)).clamp(-1, 1)
    codec = PatchPCA(4, 12, 8)
    codec.fit(images)
    measured = codec.encode(images).square().mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(torch.tensor(codec.deviations), measured, rtol=1e-3, atol=1e-3)
