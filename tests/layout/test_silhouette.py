"""Silhouettes: the room in a shape, its outline, and its head, on made-up alpha."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sumi.layout.silhouette import GRID, Silhouette


def disc(size: int, x: float, y: float, r: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return np.asarray(np.hypot(columns - x, rows - y) <= r)


def alpha(cells: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(cells.astype(np.uint8) * 255)


def animal() -> NDArray[np.bool_]:
    """A body, a head at the upper left with an ear, and a thin tail that is the highest of all."""
    cells = disc(64, 38, 42, 16) | disc(64, 18, 24, 10)
    cells[8:20, 12:14] = True
    cells[2:34, 50:52] = True
    return cells


def test_room_is_the_distance_to_what_is_not_covered() -> None:
    cells = np.zeros((9, 9), dtype=bool)
    cells[2:7, 1:8] = True
    room = Silhouette(cells).room
    assert room[4, 4] == 3 and room[2, 4] == 1 and room[0, 0] == 0
    assert Silhouette(np.ones((3, 3), dtype=bool)).room.tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]


def test_of_alpha_cuts_to_the_tight_box_and_ignores_haze() -> None:
    levels = torch.full((32, 32), 10, dtype=torch.uint8)
    levels[4:12, 8:24] = 200
    shape = Silhouette.of_alpha(levels)
    assert shape.extent == (1.0, 0.5) and shape.cells.all() and shape.cells.shape == (GRID // 2, GRID)
    assert Silhouette.of_alpha(torch.zeros(8, 8, dtype=torch.uint8)).cells.all(), "nothing is a square"


def test_the_head_is_neither_ear_nor_tail_nor_body() -> None:
    shape = Silhouette.of_alpha(alpha(animal()))
    head = shape.head()
    assert head.x < 0.35 and head.y < 0.5
    assert head.r == pytest.approx(10 / 56, abs=0.05), "the whole is 56 cells high"


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_usual_place_is_told_from_its_mirror_image_by_what_was_drawn(mirrored: bool) -> None:
    cells = animal()[:, ::-1] if mirrored else animal()
    head = Silhouette.of_alpha(alpha(cells)).head((0.2, 0.35))
    assert (head.x > 0.5) == mirrored


def test_contours_are_seen_from_each_side() -> None:
    cells = np.zeros((10, 10), dtype=bool)
    cells[2:8, 0:5], cells[5:10, 5:10] = True, True
    shape, at = Silhouette(cells), np.array([0.25, 0.95, 1.5])
    assert shape.contour("top", at)[:2].tolist() == [0.2, 0.5]
    assert shape.contour("bottom", at)[:2].tolist() == [0.8, 1.0]
    assert shape.contour("left", at)[:2].tolist() == [0.0, 0.5]
    assert shape.contour("right", at)[:2].tolist() == [0.5, 1.0]
    assert np.isnan(shape.contour("top", at)[2])
