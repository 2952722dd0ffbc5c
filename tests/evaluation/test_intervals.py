from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sumi.evaluation.intervals import Share, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.27753),  # the limits are z^2/(n + z^2) and its mirror image where nothing, or all, is right
        (10, 10, 0.72247, 1.0),
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.25529, 0.36621),  # Newcombe 1998, Stat. Med. 17, 857-872, table I, method 3
        (15, 148, 0.06239, 0.16055),
        (1, 29, 0.00611, 0.17176),
    ],
)
def test_known_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=2e-4)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_interval_holds_the_share_and_stays_in_range(n: int, fraction: float) -> None:
    right = round(n * fraction)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    mirrored = wilson(n - right, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_more_trials_narrow_it_like_a_square_root() -> None:
    narrow, wide = (wilson(k * 3, k * 10) for k in (1000, 10))
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(10, rel=0.05)


def test_nothing_tried_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).to_json()["share"] is None
    assert str(Share(0, 0)) == "nothing tried"
    with pytest.raises(ValueError, match="3 successes in 2"):
        wilson(3, 2)


def test_share_counts_and_tells() -> None:
    share = Share.of([True, False, True, True])
    assert (share.right, share.n, share.value) == (3, 4, 0.75)
    assert str(share).startswith(" 75.0% (30.1 to 95.4, n = 4)")
