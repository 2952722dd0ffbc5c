"""Principal component analysis of embeddings, and projections onto the first components.

    cov(z) = axes^T diag(variances) axes,    z_k = mean + sum_{j <= k} <z - mean, axis_j> axis_j

CLIP's embeddings need few components (unCLIP: Ramesh et al. 2022, arXiv 2204.06125, sec. 2.2). Images drawn from z_k
show what each further component adds (sec. 5 and figure 7).
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.nn import ConfigModule


def principal_axes(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (D,), the axes (D, D), a row each, and variances (D,), largest first, of z (N, D), in float64."""
    z = z.double()
    mean = z.mean(dim=0)
    variances, axes = torch.linalg.eigh((z - mean).T @ (z - mean) / len(z))
    axes = axes.flip(1).T
    # An eigenvector is defined up to its sign; its largest entry is made positive.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return mean, axes * largest.sign(), variances.flip(0).clamp(min=0)


class PrincipalAxes(ConfigModule):
    """The first principal axes of unit embeddings, a part of a model that is fitted and not trained.

    Args:
        size: dimensions of an embedding.
        dims: number of axes kept.

    Attributes:
        mean: (size,).
        axes: (dims, size).
        variances: (size,), along every axis, kept or not.
    """

    def __init__(self, size: int, dims: int) -> None:
        super().__init__()
        self.size, self.dims = size, dims
        self.axes = nn.Parameter(torch.zeros(dims, size), requires_grad=False)  # half as large in a bundle as a buffer
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variances", torch.ones(size))
        self.mean: Tensor
        self.variances: Tensor

    @classmethod
    def fit(cls, z: Tensor, dims: int) -> Self:
        """Fit to embeddings z (N, size), N at least 2; at most `size` axes are kept. SumiError for fewer than 2."""
        if len(z) < 2:
            raise SumiError(f"principal axes need at least two embeddings, not {len(z)}")
        mean, axes, variances = principal_axes(z)
        pca = cls(z.shape[1], min(dims, z.shape[1]))
        pca.axes.copy_(axes[: pca.dims])
        pca.mean.copy_(mean)
        pca.variances.copy_(variances)
        return pca

    @property
    def ladder(self) -> tuple[int, ...]:
        """Numbers of axes to compare: the powers of two that are kept, and the size of an embedding."""
        powers = [2**power for power in range(self.dims.bit_length()) if 2**power < self.size]
        return (*powers, self.size)

    def explained(self, count: int) -> float:
        """Return the share of the variance along the first `count` axes, in [0, 1]."""
        return float(self.variances[:count].sum() / self.variances.sum())

    def check(self, count: int) -> None:
        """Raise SumiError unless `count` axes are kept, or `count` is the size of an embedding."""
        if not (1 <= count <= self.dims or count == self.size):
            raise SumiError(f"dims should be from 1 to {self.dims}, or {self.size} for all, not {count}")

    def project(self, z: Tensor, count: int) -> Tensor:
        """Project unit embeddings (B, size) onto the first `count` axes, and scale them to unit length.

        Returns z itself where `count` is the size of an embedding; SumiError as `check`.
        """
        self.check(count)
        if count == self.size:
            return z
        axes = self.axes[:count]
        return F.normalize((z - self.mean) @ axes.T @ axes + self.mean, dim=-1)
