"""Silhouettes: what the alpha of a drawn thing says of its shape, and where its head is.

    room(p) = distance from p to the nearest point outside        disc = where the room is largest around

A thin part (an ear, a horn, a tail) has little room, so a high and roomy disc is the head, and not what stands out of
it. Nothing is learned: a silhouette knows no word and no model. Measured on 276 drawings whose heads are written down
(`benchmarks/heads.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["INK", "Box", "Disc", "Silhouette"]

INK = 16
"""Alpha below this, of 255, is ignored when a thing is measured."""
GRID = 48
"""Cells along the longest side of a silhouette."""
ROOMY = 0.3
"""A head has at least this share of the room of the roomiest place."""
TOWARDS_ROOM, TOWARDS_TOP = (0.25, 0.25), (0.5, 0.2)
"""How much room and height count in the choice of a head: without a usual place, and with one."""
TOWARDS_USUAL = 2.0
SEEN = 0.4
"""The share of a head's place that the drawing says; the rest is the usual place, where there is one."""


class Disc(NamedTuple):
    """A disc: its middle and its radius."""

    x: float
    y: float
    r: float


class Box(NamedTuple):
    """left, top, right, bottom; x to the right and y down."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Its width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Its height."""
        return self.bottom - self.top

    @property
    def x(self) -> float:
        """The middle between left and right."""
        return (self.left + self.right) / 2

    @property
    def y(self) -> float:
        """The middle between top and bottom."""
        return (self.top + self.bottom) / 2

    def moved(self, right: float, down: float) -> Box:
        """Return the box moved."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)


@dataclass(frozen=True, eq=False)
class Silhouette:
    """The cells that a thing covers, bool (H, W), cut to its tight box."""

    cells: NDArray[np.bool_]

    @classmethod
    def of_alpha(cls, alpha: Tensor) -> Silhouette:
        """Return the silhouette of alpha, uint8 (H, W); a whole square where nothing is drawn."""
        inked = (alpha > INK).cpu().numpy()
        if not inked.any():
            return cls(np.ones((GRID, GRID), dtype=bool))
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        tight = inked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = GRID / max(tight.shape)
        high, wide = (max(1, round(length * scale)) for length in tight.shape)
        picked = np.ix_(_nearest(high, tight.shape[0]), _nearest(wide, tight.shape[1]))
        return cls(tight[picked])

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height, in longest sides."""
        high, wide = self.cells.shape
        return wide / max(wide, high), high / max(wide, high)

    @cached_property
    def room(self) -> NDArray[np.float64]:
        """The distance of each cell to the nearest one that is not covered, in cells, (H, W)."""
        padded = np.pad(self.cells, 1)
        down, across = (np.subtract.outer(np.arange(n), np.arange(n)) ** 2 for n in padded.shape)
        far = sum(padded.shape) ** 2
        along = np.where(padded[:, None, :], far, across).min(axis=2)  # to the nearest in the same row
        return np.asarray(np.sqrt((down[:, :, None] + along).min(axis=1)[1:-1, 1:-1]))

    @cached_property
    def discs(self) -> NDArray[np.float64]:
        """The largest discs that fit where they lie, (N, 3): middle x, y and radius, in longest sides."""
        room = self.room
        high, wide = room.shape
        padded = np.pad(room, 1)
        around = np.max([padded[i : i + high, j : j + wide] for i in range(3) for j in range(3)], axis=0)
        rows, columns = np.nonzero((room >= around) & (room >= ROOMY * room.max()))
        return np.asarray(np.stack([columns + 0.5, rows + 0.5, room[rows, columns]], axis=1) / max(high, wide))

    def head(self, usual: tuple[float, float] | None = None) -> Disc:
        """Return the disc that is the head, in longest sides from the top left corner.

        Of the discs that are high and roomy it is the one nearest to where such heads usually are, or to the mirror
        image of that place, since a drawing may face either way.

        Args:
            usual: x and y in fractions of the tight box; by default nothing is known.
        """
        x, y, r = self.discs.T
        wide, high = self.extent
        score = TOWARDS_ROOM[usual is not None] * r / r.max() - TOWARDS_TOP[usual is not None] * (y - r) / high
        if usual is None:
            best = int(score.argmax())
            return Disc(x[best], y[best], r[best])
        at, down = usual[0] * wide, usual[1] * high
        facing, mirrored = np.hypot(x - at, y - down), np.hypot(x - (wide - at), y - down)
        size = float(np.sqrt(wide * high))
        best = int((score - TOWARDS_USUAL * np.minimum(facing, mirrored + 0.1 * size) / size).argmax())
        at = at if facing[best] <= mirrored[best] + 0.1 * size else wide - at
        return Disc(SEEN * x[best] + (1 - SEEN) * at, SEEN * y[best] + (1 - SEEN) * down, r[best])

    def contour(self, side: str, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the outline lies, seen from a side, at places along it.

        Args:
            side: top, bottom, left or right.
            at: places along the side, in fractions of the tight box.

        Returns:
            The distance of the outline from the top or the left, in fractions; NaN beside the thing.
        """
        across = self.cells if side in ("top", "bottom") else self.cells.T
        depth, length = across.shape
        first, last = across.argmax(axis=0), depth - across[::-1].argmax(axis=0)
        outline = np.where(across.any(axis=0), first if side in ("top", "left") else last, np.nan) / depth
        inside = (at >= 0) & (at < 1)
        return np.where(inside, outline[np.clip((at * length).astype(np.int64), 0, length - 1)], np.nan)


def _nearest(count: int, length: int) -> NDArray[np.int64]:
    """Return the indices that pick `count` cells from `length`."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)
