"""Whether a picture is a changed copy of another: aligned with it, and then compared block by block.

    a(x) = G b(s x + t) + c

with a scale s and a shift t for each axis, a linear map G of colours and an offset c. Scale and shift
are found by Gauss-Newton, from coarse to fine (Lucas & Kanade 1981, "An iterative image registration technique"). A
copy differs little in every block of the aligned pictures; two pictures of the same kind, such as faces with different
mouths, differ much in one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Alignment", "align"]

LEVELS = (4, 2, 1)
"""Factors by which views are made smaller, from coarse to fine."""
ITERATIONS = 8
IDENTITY = (1.0, 1.0, 0.0, 0.0)
LEAST_LIKELY = 0.5
"""Share of the variance that must be explained at the coarsest level."""
LARGEST_STEP, LARGEST_SHIFT, SCALES = 0.15, 0.4, (0.75, 1.34)
LARGEST_CHANGE = 0.2
"""Root mean square change of colours between copies; a drawing whose colours change more is another picture."""
RIDGE = 1e-3
LEAST_COVERED = 0.55
"""Share of one view that the other must cover."""
LEAST_CONTENT = 3e-3
"""Variance of what lies under both, below which there is nothing to compare."""
BLOCKS = 8
BATCH = 128
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Alignment:
    """How well pairs of views fit after alignment.

    Attributes:
        explained: share of the variance of one that the other explains, (P,), at most 1.
        worst: root mean square difference in the block that differs most, (P,), in [0, 1].
        plausible: whether the overlap is large and the change of colours small, (P,).
    """

    explained: Tensor
    worst: Tensor
    plausible: Tensor

    def accept(self, explained: float, worst: float) -> Tensor:
        """Return which pairs are copies, (P,)."""
        return self.plausible & (self.explained >= explained) & (self.worst <= worst)


def align(a: Tensor, b: Tensor) -> Alignment:
    """Return how well each view of b fits the view of a beside it.

    Pairs that do not fit at the coarsest level are not looked at more closely.

    Args:
        a: uint8 (P, 3, S, S).
        b: the same.
    """
    count = len(a)
    explained, worst = torch.zeros(count), torch.ones(count)
    plausible = torch.zeros(count, dtype=torch.bool)
    for rows in torch.split(torch.arange(count), BATCH):
        one, other = a[rows].float() / 255, b[rows].float() / 255
        place = _place(one, other, LEVELS[:1], torch.tensor([IDENTITY]).repeat(len(rows), 1))
        coarse = _compare(F.avg_pool2d(one, LEVELS[0]), F.avg_pool2d(other, LEVELS[0]), place)
        explained[rows] = coarse.explained
        likely = coarse.explained >= LEAST_LIKELY
        if likely.any():
            fine = _compare(one[likely], other[likely], _place(one[likely], other[likely], LEVELS[1:], place[likely]))
            chosen = rows[likely]
            explained[chosen], worst[chosen], plausible[chosen] = fine.explained, fine.worst, fine.plausible
    return Alignment(explained, worst, plausible)


def _place(a: Tensor, b: Tensor, levels: Sequence[int], place: Tensor) -> Tensor:
    """Return scale and shift of each pair, (P, 4), from coarse to fine."""
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    gray_a, gray_b = (a * luma).sum(1, keepdim=True), (b * luma).sum(1, keepdim=True)
    for factor in levels:
        small_a, small_b = (F.avg_pool2d(gray, factor) for gray in (gray_a, gray_b))
        for _ in range(ITERATIONS):
            place = _step(small_a, small_b, place)
    return place


def _step(a: Tensor, b: Tensor, place: Tensor) -> Tensor:
    """Return the place after one step of Gauss-Newton."""
    side = a.shape[-1]
    grid, mask = _grid(place, side)
    dx = (F.pad(b, (1, 1, 0, 0), mode="replicate")[..., 2:] - F.pad(b, (1, 1, 0, 0), mode="replicate")[..., :-2]) / 2
    dy = F.pad(b, (0, 0, 1, 1), mode="replicate")[..., 2:, :] - F.pad(b, (0, 0, 1, 1), mode="replicate")[..., :-2, :]
    warped = _sample(torch.cat([b, dx * side / 2, dy / 2 * side / 2], dim=1), grid)
    w, gx, gy = (channel.flatten(1) for channel in warped.unbind(1))
    unit = _grid(torch.tensor([IDENTITY]), side)[0]
    x, y = (axis.flatten(1) for axis in unit.unbind(-1))
    columns = torch.stack([gx * x, gy * y, gx, gy, w, torch.ones_like(w)], dim=2) * mask.flatten(1)[..., None]
    normal = columns.mT @ columns + 1e-3 * torch.eye(6)
    answer = torch.linalg.solve(normal, columns.mT @ (a.flatten(1) * mask.flatten(1))[..., None])[..., 0]
    gain = answer[:, 4:5].clamp(min=0.1)
    moved = place + (answer[:, :4] / gain).clamp(-LARGEST_STEP, LARGEST_STEP)
    return torch.cat([moved[:, :2].clamp(*SCALES), moved[:, 2:].clamp(-LARGEST_SHIFT, LARGEST_SHIFT)], dim=1)


def _compare(a: Tensor, b: Tensor, place: Tensor) -> Alignment:
    """Return how well aligned views fit, after the linear map of colours that fits best."""
    grid, mask = _grid(place, a.shape[-1])
    seen = mask.flatten(1)[..., None]  # (P, S*S, 1)
    w, x = _sample(b, grid).flatten(2).mT, a.flatten(2).mT
    columns = torch.cat([w, torch.ones_like(seen)], dim=2) * seen
    ridge = RIDGE * seen.sum(1, keepdim=True).clamp(min=1) * torch.eye(4)
    change = torch.linalg.solve(columns.mT @ columns + ridge, columns.mT @ ((x - w) * seen))
    moved = (columns @ change).square().sum((1, 2)) / (3 * seen.sum((1, 2)).clamp(min=1))
    error = ((x - w) * seen - columns @ change).square()
    middle = (x * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
    content = ((x - middle) * seen).square().sum((1, 2))
    explained = 1 - error.sum((1, 2)) / (content + 1e-6)
    size = max(1, a.shape[-1] // BLOCKS)
    blocks = F.avg_pool2d(error.mean(2).view(-1, 1, *a.shape[-2:]), size)
    covered = F.avg_pool2d(mask[:, None], size) > 0.5
    worst = torch.where(covered, blocks, 0.0).amax((1, 2, 3)).sqrt()
    covers = (mask.mean((1, 2)) > LEAST_COVERED) & (content > LEAST_CONTENT * seen.sum((1, 2)))
    return Alignment(explained, worst, (moved.sqrt() < LARGEST_CHANGE) & covers)


def _grid(place: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return where each pixel of a lies in b, (P, S, S, 2) in [-1, 1], and whether that is within b, (P, S, S)."""
    zero = torch.zeros(len(place))
    theta = torch.stack([place[:, 0], zero, place[:, 2], zero, place[:, 1], place[:, 3]], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [len(place), 1, side, side], align_corners=False)
    return grid, (grid.abs().amax(-1) <= 1).float()


def _sample(b: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(b, grid, mode="bilinear", padding_mode="border", align_corners=False)
