"""Principal axes as a part of a model: what they keep of data whose rank is known, and what they refuse."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.autoregressive import PrincipalAxes
from sumi.bundles import Bundle, save_bundle
from sumi.errors import SumiError

SIZE, RANK = 24, 5


def flat(count: int = 400, seed: int = 0, noise: float = 0.005) -> Tensor:
    """Unit vectors that lie about a plane of RANK dimensions which does not meet zero."""
    rng = torch.Generator().manual_seed(7)
    plane = torch.linalg.qr(torch.randn(SIZE, RANK + 1, generator=rng))[0].T
    rng.manual_seed(seed)
    spread = 0.5 ** torch.arange(RANK)
    along = torch.randn(count, RANK, generator=rng) * spread
    return F.normalize(2 * plane[:1] + along @ plane[1:] + noise * torch.randn(count, SIZE, generator=rng), dim=1)


def lost(axes: PrincipalAxes, z: Tensor, count: int) -> float:
    """The share of what differs between embeddings that so many components do not say."""
    return float((axes.project(z, count) - z).square().sum() / (z - z.mean(dim=0)).square().sum())


def test_pca_of_a_plane_on_the_sphere_needs_hardly_more_axes_than_its_dimensions() -> None:
    axes, new = PrincipalAxes.fit(flat(), dims=12), flat(seed=3)
    assert axes.explained(RANK + 1) > 0.99
    assert lost(axes, new, RANK + 1) < 0.01
    assert lost(axes, new, 1) > 0.1
    each = [lost(axes, new, count) for count in range(1, 13)]
    assert all(more <= fewer + 1e-6 for fewer, more in pairwise(each))


def test_pca_explained_variance_rises_to_1() -> None:
    axes = PrincipalAxes.fit(flat(noise=0.1), dims=12)
    shares = [axes.explained(count) for count in range(SIZE + 1)]
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert torch.allclose(axes.axes @ axes.axes.T, torch.eye(12), atol=1e-5)


def test_pca_project_onto_all_axes_returns_the_embedding_and_onto_fewer_a_unit_vector() -> None:
    axes, z = PrincipalAxes.fit(flat(), dims=12), flat(6, seed=4)
    assert axes.project(z, SIZE) is z
    torch.testing.assert_close(axes.project(z, 2).norm(dim=1), torch.ones(6))
    assert axes.ladder == (1, 2, 4, 8, 24)
    whole = PrincipalAxes.fit(flat(), dims=1000)
    assert whole.dims == SIZE and whole.ladder == (1, 2, 4, 8, 16, 24)


@pytest.mark.parametrize("count", [0, -1, 13, 23, 25])
def test_pca_project_onto_axes_that_are_not_kept_raises(count: int) -> None:
    axes = PrincipalAxes.fit(flat(), dims=12)
    with pytest.raises(SumiError, match=f"from 1 to 12, or 24 for all, not {count}"):
        axes.project(flat(2), count)


def test_pca_of_one_embedding_raises() -> None:
    with pytest.raises(SumiError, match="at least two embeddings, not 1"):
        PrincipalAxes.fit(flat(1), dims=3)


def test_pca_in_a_bundle_is_read_back_and_small(tmp_path: Path) -> None:
    axes, z = PrincipalAxes.fit(flat(), dims=12), flat(20, seed=5)
    folder = save_bundle(tmp_path / "model", system="any", parts={"pca": axes}).folder
    again = Bundle.load(folder).part("pca")
    assert isinstance(again, PrincipalAxes) and again.ladder == axes.ladder
    assert (again.project(z, 8) - axes.project(z, 8)).abs().max() < 0.01, "the axes are kept in sixteen bits"
    assert again.explained(3) == axes.explained(3), "and the statistics as they are"
    assert (folder / "pca" / "model.safetensors").stat().st_size < 2 * 12 * SIZE + 8 * SIZE + 400
