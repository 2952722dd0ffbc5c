"""The axes along which embeddings differ, the longest first, and how much of an embedding the first of them say.

    cov(z) = axes^T diag(variances) axes,    z_k = mean + sum_{j <= k} <z - mean, axis_j> axis_j

CLIP's embeddings need few of them (unCLIP: Ramesh et al. 2022, section 2.2), and what each further one adds can be
looked at by drawing z_k (section 5 and figure 7).
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.nn import ConfigModule


def principal_axes(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (D,), the axes (D, D), a row each, and their variances (D,), largest first, of z (N, D), float64."""
    z = z.double()
    mean = z.mean(dim=0)
    variances, axes = torch.linalg.eigh((z - mean).T @ (z - mean) / len(z))
    axes = axes.flip(1).T
    # An eigenvector has no sign of its own; its largest entry is made positive.
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return mean, axes * largest.sign(), variances.flip(0).clamp(min=0)


class PrincipalAxes(ConfigModule):
    """The first `dims` axes of unit embeddings of `size` entries, and the variance along every one.

    A part of a model, measured and not trained: mean (size,), axes (dims, size), variances (size,).
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
        """Measure embeddings (N, size), N at least 2; of `dims` above their size, all axes are kept."""
        if len(z) < 2:
            raise SumiError(f"principal axes need at least two embeddings, not {len(z)}")
        mean, axes, variances = principal_axes(z)
        made = cls(z.shape[1], min(dims, z.shape[1]))
        made.axes.copy_(axes[: made.dims])
        made.mean.copy_(mean)
        made.variances.copy_(variances)
        return made

    @property
    def ladder(self) -> tuple[int, ...]:
        """Numbers of axes worth comparing: the powers of two that are kept, and at last all there are."""
        powers = [2**power for power in range(self.dims.bit_length()) if 2**power < self.size]
        return (*powers, self.size)

    def explained(self, count: int) -> float:
        """The share of the variance that the first `count` axes have, in [0, 1]."""
        return float(self.variances[:count].sum() / self.variances.sum())

    def check(self, count: int) -> None:
        """Raise SumiError unless so many axes are kept, or it is all that there are."""
        if not (1 <= count <= self.dims or count == self.size):
            raise SumiError(f"dims should be from 1 to {self.dims}, or {self.size} for all, not {count}")

    def nearest(self, z: Tensor, count: int) -> Tensor:
        """Unit embeddings (B, size) as their first `count` components say them, unit again; all of them change nothing.

        SumiError where `check` raises it.
        """
        self.check(count)
        if count == self.size:
            return z
        axes = self.axes[:count]
        return F.normalize((z - self.mean) @ axes.T @ axes + self.mean, dim=-1)
