"""How pictures lie in what a published model draws."""

from __future__ import annotations

import pytest

from sumi.systems.published.framing import Frame, fit_frame


@pytest.mark.parametrize(
    ("size", "longest_px", "frame"),
    [
        ((1, 1), 512, (512, 512)),
        ((3000, 2000), 512, (344, 512)),
        ((2000, 3000), 512, (512, 344)),
        ((10000, 10), 512, (8, 512)),
        ((512, 344), 512, (344, 512)),
    ],
)
def test_fit_frame_keeps_the_proportions_to_the_next_multiple(
    size: tuple[int, int], longest_px: int, frame: tuple[int, int]
) -> None:
    assert fit_frame(size, longest_px, 8) == Frame(*frame)
