"""The distance between two sets of pictures, against what it is when everything is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sumi.bundles import Bundle
from sumi.errors import SumiError
from sumi.evaluation.kid import Eye, kernel, kid, mmd


def normal(count: int, width: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_kernel_is_the_cube() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0], [0.0, 0.0]])
    assert kernel(a, b).tolist() == [[(1 / 2 + 1) ** 3, 1.0]]


def test_two_pictures_of_each_by_hand() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    assert mmd(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)  # k(0, .) = 1, k(1, 2) = 27, k(1, 3) = 64


def test_on_a_line_it_compares_three_moments() -> None:
    """(xy + 1)^3 = 1 + 3xy + 3x^2y^2 + x^3y^3, so the distance is sum_i C(3, i) (E x^i - E y^i)^2."""
    shift, scale = 0.4, 1.3  # moments of N(0.4, 1.3^2) less those of N(0, 1)
    first, second = shift, shift**2 + scale**2 - 1
    third = shift**3 + 3 * shift * scale**2
    known = 3 * first**2 + 3 * second**2 + third**2
    found = kid(shift + scale * normal(3000), normal(3000, seed=1), subsets=10)
    assert abs(found.value - known) < 3.5 * found.error and found.error < known / 5


def test_what_is_alike_is_zero_on_average_and_not_only_at_least() -> None:
    values = [kid(normal(64, 8, seed), normal(96, 8, 1000 + seed), subsets=4) for seed in range(60)]
    distances = torch.tensor([each.value for each in values])
    error = distances.std() / len(values) ** 0.5
    assert abs(distances.mean()) < 3 * error
    assert (distances < 0).any()
    stated = torch.tensor([each.error for each in values]).mean()
    assert 0.8 * distances.std() < stated < 3 * distances.std()  # the error is that of the figure, a little too large


def test_further_is_larger() -> None:
    y = normal(400, 4, 1)
    near, far = (mmd(normal(400, 4) + shift, y) for shift in (0.1, 0.5))
    assert 0 < near < far


def test_one_picture_is_no_set() -> None:
    with pytest.raises(ValueError, match="two pictures of each kind, not 1 and 5"):
        mmd(normal(1), normal(5))


def test_features_are_the_eyes_whatever_the_size(tiny_bundle: Bundle) -> None:
    eye = Eye.of(tiny_bundle)
    assert eye.sha256 == tiny_bundle.hashes["clip"] and eye.name == "tiny"
    small = torch.randint(0, 255, (3, 4, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    small[:, :3] = torch.minimum(small[:, :3], small[:, 3:])
    features = eye.features(small)
    assert features.shape == (3, 8)
    assert torch.allclose(features.square().sum(1), torch.tensor(8.0))  # so that k is (cosine + 1)^3
    assert torch.allclose(eye.features(small[:1]), features[:1], atol=1e-5)


def test_a_model_without_an_eye_is_refused(tiny_bundle: Bundle) -> None:
    blind = replace(tiny_bundle, parts={"clip": tiny_bundle.parts["codec"]}, _loaded={})
    with pytest.raises(SumiError):
        Eye.of(blind)
