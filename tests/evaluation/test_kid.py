"""The distance between two sets of pictures, against what it is when everything is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sumi.bundles import Bundle
from sumi.errors import SumiError
from sumi.evaluation.kid import FeatureExtractor, kernel, kid, mmd


def normal(count: int, width: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kernel_is_the_cube() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0], [0.0, 0.0]])
    assert kernel(a, b).tolist() == [[(1 / 2 + 1) ** 3, 1.0]]


def test_mmd_of_two_pictures_each_equals_the_formula() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    assert mmd(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)  # k(0, .) = 1, k(1, 2) = 27, k(1, 3) = 64


def test_mmd_in_one_dimension_compares_three_moments() -> None:
    """(xy + 1)^3 = 1 + 3xy + 3x^2y^2 + x^3y^3, so the distance is sum_i C(3, i) (E x^i - E y^i)^2."""
    shift, scale = 0.4, 1.3  # moments of N(0.4, 1.3^2) less those of N(0, 1)
    first, second = shift, shift**2 + scale**2 - 1
    third = shift**3 + 3 * shift * scale**2
    known = 3 * first**2 + 3 * second**2 + third**2
    found = kid(shift + scale * normal(3000), normal(3000, seed=1), resamples=100)
    assert abs(found.value - known) < 3.5 * found.error and found.error < known / 5


@pytest.mark.parametrize(("n", "m", "shift"), [(48, 64, 0.0), (64, 256, 0.0), (48, 64, 0.5), (96, 96, 1.0)])
def test_kid_error_is_the_deviation_over_new_samples(n: int, m: int, shift: float) -> None:
    """Near 0 too, where the figure is a sum over pairs alone and a plain bootstrap is far too wide."""
    tried = [kid(normal(n, 8, seed) + shift, normal(m, 8, 9000 + seed), resamples=300) for seed in range(120)]
    values = torch.tensor([each.value for each in tried])
    stated = torch.tensor([each.error for each in tried]).square().mean().sqrt()
    assert 0.8 < stated / values.std() < 1.35
    known = 8 * shift**2  # with D = 8, by the first moments alone; the rest is measured
    middle = 0.0 if shift == 0 else float(values.mean())
    covered = sum(each.low <= middle <= each.high for each in tried) / len(tried)
    assert covered > 0.8 and (shift == 0 or middle > 3 * known / 8)
    assert all(each.low < each.value < each.high for each in tried)


def test_kid_error_in_one_dimension_equals_the_formula() -> None:
    """k = (ab + 1)^3 against a far constant set: KID's variance is 4 Var(a)/n, a(x) = E k(x, x') - E k(x, y)."""
    n, far = 4000, torch.full((4, 1), 3.0, dtype=torch.float64)
    found = kid(normal(n), far + 1e-9 * normal(4), resamples=300)
    # E k(x, x') = 1 + 3 x^2 and E k(x, y) = (3 x + 1)^3, so a(x) = -27 x^3 - 24 x^2 - 9 x; E x^2, x^4, x^6 = 1, 3, 15.
    variance = 27**2 * 15 + 24**2 * (3 - 1) + 9**2 + 2 * 27 * 9 * 3
    assert found.error == pytest.approx((4 * variance / n) ** 0.5, rel=0.15)


def test_kid_of_equal_distributions_is_zero_on_average() -> None:
    distances = torch.tensor([mmd(normal(64, 8, seed), normal(96, 8, 1000 + seed)) for seed in range(60)])
    assert abs(distances.mean()) < 3 * distances.std() / len(distances) ** 0.5
    assert (distances < 0).any()


def test_kid_error_falls_with_more_pictures() -> None:
    few, many = (kid(normal(count, 8) + 0.5, normal(256, 8, 1)) for count in (32, 256))
    assert many.error < 0.6 * few.error


def test_kid_interval_is_reproducible_and_in_the_record() -> None:
    one, again = (kid(normal(20, 4), normal(24, 4, 1)) for _ in range(2))
    assert one == again and list(one.to_json()) == ["kid", "low", "high", "error", "n", "num_true"]
    assert one.to_json()["n"] == 20 and one.to_json()["num_true"] == 24


def test_interval_lies_between_the_quantiles_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sumi.evaluation.kid.bootstrap", lambda x, y, resamples, kernel: torch.linspace(-1, 1, resamples + 1)
    )
    found = kid(normal(20, 4), normal(24, 4, 1))
    assert (found.value - found.low, found.high - found.value) == pytest.approx((0.95, 0.95), abs=1e-6)
    assert found.error == pytest.approx(torch.linspace(-1, 1, 1001).std().item())


def test_kid_needs_four_pictures_of_each() -> None:
    with pytest.raises(ValueError, match="four pictures of each kind, not 3 and 9"):
        kid(normal(3), normal(9))


def test_kid_grows_with_the_difference() -> None:
    y = normal(400, 4, 1)
    near, far = (mmd(normal(400, 4) + shift, y) for shift in (0.1, 0.5))
    assert 0 < near < far


def test_mmd_needs_two_pictures_of_each() -> None:
    with pytest.raises(ValueError, match="two pictures of each kind, not 1 and 5"):
        mmd(normal(1), normal(5))


def test_feature_extractor_takes_any_size(tiny_bundle: Bundle) -> None:
    eye = FeatureExtractor.of(tiny_bundle)
    assert eye.sha256 == tiny_bundle.hashes["clip"] and eye.name == "tiny"
    small = torch.randint(0, 255, (3, 4, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    small[:, :3] = torch.minimum(small[:, :3], small[:, 3:])
    features = eye.features(small)
    assert features.shape == (3, 8)
    assert torch.allclose(features.square().sum(1), torch.tensor(8.0))  # so that k is (cosine + 1)^3
    assert torch.allclose(eye.features(small[:1]), features[:1], atol=1e-5)


def test_feature_extractor_refuses_a_bundle_without_clip(tiny_bundle: Bundle) -> None:
    blind = replace(tiny_bundle, parts={"clip": tiny_bundle.parts["codec"]}, _loaded={})
    with pytest.raises(SumiError):
        FeatureExtractor.of(blind)
