from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sumi.evaluation.intervals import Gain, Mean, Share, newcombe, wilson


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
def test_wilson_equals_known_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=2e-4)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_contains_the_share_and_stays_in_range(n: int, fraction: float) -> None:
    right = round(n * fraction)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    mirrored = wilson(n - right, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_wilson_narrows_with_the_square_root_of_trials() -> None:
    narrow, wide = (wilson(k * 3, k * 10) for k in (1000, 10))
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(10, rel=0.05)


def test_wilson_without_trials_is_the_whole_range() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).to_json()["share"] is None
    assert str(Share(0, 0)) == "nothing tried"
    with pytest.raises(ValueError, match="3 successes in 2"):
        wilson(3, 2)


def test_share_counts_and_prints() -> None:
    share = Share.of([True, False, True, True])
    assert (share.right, share.n, share.value) == (3, 4, 0.75)
    assert str(share).startswith(" 75.0% (30.1 to 95.4, n = 4)")


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe 1998, Stat. Med. 17, 2635-2650, method 10
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland et al. 2014, Stat. Med. 33, 2850-2875: Bentur's airways
    ],
)
def test_newcombe_equals_known_values(table: tuple[int, int, int, int], low: float, high: float) -> None:
    assert newcombe(*table) == pytest.approx((low, high), abs=6e-4)


@given(*4 * [st.integers(0, 300)])
def test_newcombe_contains_the_difference_and_is_antisymmetric(both: int, a: int, b: int, neither: int) -> None:
    low, high = newcombe(both, a, b, neither)
    n = both + a + b + neither
    assert -1 - 1e-9 <= low <= (a - b) / max(n, 1) <= high <= 1 + 1e-9
    mirrored = newcombe(both, b, a, neither)
    assert (-mirrored[1], -mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_gain_counts_what_changed() -> None:
    gain = Gain.of([True, True, False, False, False], [True, False, True, True, False])
    assert (gain.both, gain.gained, gain.lost, gain.neither, gain.n) == (1, 2, 1, 1, 5)
    assert gain.value == pytest.approx(0.2) and gain.as_text(gain.value) == "+20.0 points"
    assert Gain(80, 15, 2, 3).interval[0] > 0 > Gain(80, 4, 2, 14).interval[0]
    assert math.isnan(Gain.of([], []).value)
    with pytest.raises(ValueError, match="shorter"):
        Gain.of([True, False], [True])


def test_mean_interval_agrees_with_the_central_limit() -> None:
    values = tuple((k % 100) / 100 for k in range(400))
    mean = Mean(values)
    half = 1.96 * math.sqrt(sum((v - mean.value) ** 2 for v in values) / 400) / math.sqrt(400)
    low, high = mean.interval
    assert (low, high) == pytest.approx((mean.value - half, mean.value + half), abs=0.1 * half)
    assert mean.interval == Mean(values).interval, "the same every time"


def test_mean_interval_of_equal_values_is_a_point_and_of_none_is_infinite() -> None:
    assert Mean((2.5,) * 7, "dB", 1).interval == (2.5, 2.5)
    assert Mean((2.5,), "dB", 1).as_text(2.5) == "2.5 dB" and Mean((0.25,), "%").as_text(0.25) == "25.0%"
    assert Mean(()).interval == (-math.inf, math.inf) and Mean(()).to_json()["mean"] is None
