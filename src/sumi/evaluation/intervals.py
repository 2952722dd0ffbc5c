"""95 per cent confidence intervals of a share, of the difference of two shares, and of a mean.

A share p = right/n has Wilson's score interval:

    centre = (p + z^2/2n) / (1 + z^2/n),    half = z sqrt(p(1 - p)/n + z^2/4n^2) / (1 + z^2/n)

with z = 1.96. Wilson 1927, J. Am. Stat. Assoc. 22, 209-212. Unlike p +- 1.96 s it stays within [0, 1] and has a width
above 0 at p = 0 and p = 1. The difference of two shares p and q of the same n questions has the interval

    p - q - sqrt(dl^2 - 2 phi dl du' + du'^2)  to  p - q + sqrt(du^2 - 2 phi du dl' + dl'^2)

where dl, du (and dl', du') are the distances from p (and q) to Wilson's limits, and phi is the correlation of the
answers. The interval of a mean is the percentile bootstrap (Efron 1979, Ann. Statist. 7, 1-26).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

__all__ = ["BoundedValue", "Gain", "Mean", "Share", "Value"]

Z_95 = 1.959963984540054
RESAMPLES = 10_000


class Value(Protocol):
    """A value estimated from n observations, with its 95 per cent interval."""

    @property
    def n(self) -> int:
        """The number of observations."""
        ...

    @property
    def value(self) -> float:
        """The estimate; NaN without observations."""
        ...

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper limit."""
        ...

    def as_text(self, value: float) -> str:
        """Return a number as text with the unit of this value."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


def wilson(right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's interval (low, high) for `right` successes in `n` trials; (0, 1) for no trials."""
    if not 0 <= right <= n:
        raise ValueError(f"there cannot be {right} successes in {n} trials")
    if n == 0:
        return 0.0, 1.0
    p, over = right / n, z * z / n
    centre = (p + over / 2) / (1 + over)
    half = z * math.sqrt(p * (1 - p) / n + over / (4 * n)) / (1 + over)
    # The limits are exactly 0 and 1 at the ends; rounding would miss them.
    return 0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half


@dataclass(frozen=True)
class Share:
    """A share: `right` successes in `n` trials."""

    right: int
    n: int

    @classmethod
    def of(cls, grades: Iterable[bool]) -> Share:
        """Count the true values."""
        listed = [bool(grade) for grade in grades]
        return cls(sum(listed), len(listed))

    @property
    def value(self) -> float:
        """The share in [0, 1]; NaN without trials."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 per cent interval."""
        return wilson(self.right, self.n)

    def as_text(self, value: float) -> str:
        """Return a share as text in per cent."""
        return f"{100 * value:.1f}%"

    def to_json(self) -> dict[str, Any]:
        """Return the value and its interval as JSON values, rounded to four places."""
        low, high = self.interval
        share = round(self.value, 4) if self.n else None
        return {"share": share, "low": round(low, 4), "high": round(high, 4), "right": self.right, "n": self.n}

    def __str__(self) -> str:
        """Return it as `62.5% (55.6 to 68.9, n = 200)`."""
        if not self.n:
            return "nothing tried"
        low, high = self.interval
        return f"{100 * self.value:5.1f}% ({100 * low:.1f} to {100 * high:.1f}, n = {self.n})"


def newcombe(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the interval (low, high) of the first share minus the second, of paired answers.

    Newcombe 1998, Stat. Med. 17, 2635-2650, method 10, with phi corrected for continuity.

    Args:
        both: how many questions both answered correctly.
        first: how many only the first did.
        second: how many only the second did.
        neither: how many neither did.
    """
    n = both + first + second + neither
    if n == 0:
        return -1.0, 1.0
    margins = both + first, both + second
    p, q = (margin / n for margin in margins)
    (p_low, p_high), (q_low, q_high) = (wilson(margin, n) for margin in margins)
    cross = float(both * neither - first * second)
    if cross > 0:
        cross = max(0.0, cross - n / 2)
    square = math.prod((*margins, n - margins[0], n - margins[1]))
    phi = cross / math.sqrt(square) if square else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    return p - q - reach(p - p_low, q_high - q), p - q + reach(p_high - p, q - q_low)


@dataclass(frozen=True)
class Gain:
    """The difference between two shares of the same questions, before and after a change.

    Args:
        both: questions that are right before and after.
        gained: questions that are right only after.
        lost: questions that are right only before.
        neither: questions that are never right.
    """

    both: int
    gained: int
    lost: int
    neither: int

    @classmethod
    def of(cls, before: Iterable[bool], after: Iterable[bool]) -> Gain:
        """Count the outcomes of each question before and after."""
        pairs = [(bool(was), bool(now)) for was, now in zip(before, after, strict=True)]
        return cls(*(pairs.count(kind) for kind in ((True, True), (False, True), (True, False), (False, False))))

    @property
    def n(self) -> int:
        """The number of questions."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def value(self) -> float:
        """The difference of the shares in [-1, 1]; NaN without questions."""
        return (self.gained - self.lost) / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Newcombe's 95 per cent interval."""
        return newcombe(self.both, self.gained, self.lost, self.neither)

    def as_text(self, value: float) -> str:
        """Return a difference as text in percentage points."""
        return f"{100 * value:+.1f} points"

    def to_json(self) -> dict[str, Any]:
        """Return the value and its interval as JSON values, rounded to four places."""
        low, high = self.interval
        difference = round(self.value, 4) if self.n else None
        counts = {"gained": self.gained, "lost": self.lost, "n": self.n}
        return {"difference": difference, "low": round(low, 4), "high": round(high, 4), **counts}


@dataclass(frozen=True)
class Mean:
    """A mean.

    Args:
        values: one number for each picture.
        unit: of the numbers; "%" means that they are fractions.
        places: how many decimal places to print.
    """

    values: tuple[float, ...]
    unit: str = ""
    places: int = 3

    @property
    def n(self) -> int:
        """The number of values."""
        return len(self.values)

    @property
    def value(self) -> float:
        """The mean; NaN without values."""
        return math.fsum(self.values) / self.n if self.values else math.nan

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 per cent bootstrap interval, from a fixed seed."""
        if not self.values:
            return -math.inf, math.inf
        chosen = torch.randint(self.n, (RESAMPLES, self.n), generator=torch.Generator().manual_seed(self.n))
        means = torch.tensor(self.values, dtype=torch.float64)[chosen].mean(dim=1)
        low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return low, high

    def as_text(self, value: float) -> str:
        """Return a number as text with the unit."""
        if self.unit == "%":
            return f"{100 * value:.1f}%"
        return f"{value:.{self.places}f} {self.unit}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return the mean and its interval as JSON values, rounded to four places; null for NaN and infinity."""
        low, high = (round(limit, 4) if math.isfinite(limit) else None for limit in self.interval)
        mean = round(self.value, 4) if self.n else None
        return {"mean": mean, "low": low, "high": high, "n": self.n, "unit": self.unit}


@dataclass(frozen=True)
class BoundedValue:
    """A value whose interval was found elsewhere.

    Args:
        value: the estimate.
        low: the lower limit.
        high: the upper limit.
        n: the number of observations.
        unit: of the numbers; "%" means that they are fractions.
        places: how many decimal places to print.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    places: int = 3

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper limit."""
        return self.low, self.high

    def as_text(self, value: float) -> str:
        """Return a number as text with the unit."""
        return f"{100 * value:.1f}%" if self.unit == "%" else f"{value:.{self.places}f}"

    def to_json(self) -> dict[str, Any]:
        """Return the value and its interval as JSON values, rounded to six places; null for NaN and infinity."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        kept = {name: round(number, 6) if math.isfinite(number) else None for name, number in numbers.items()}
        return {**kept, "n": self.n, "unit": self.unit}
