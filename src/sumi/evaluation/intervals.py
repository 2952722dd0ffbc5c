"""How sure one may be of a figure: 95 per cent intervals of a share, of a difference of two shares, and of a mean.

A share p = right/n has Wilson's score interval:

    centre = (p + z^2/2n) / (1 + z^2/n),    half = z sqrt(p(1 - p)/n + z^2/4n^2) / (1 + z^2/n)

with z = 1.96. Wilson 1927, J. Am. Stat. Assoc. 22, 209-212: unlike p +- 1.96 s it stays within [0, 1] and says
something sensible at 0 and at n. Two shares p and q of the same n questions differ by

    p - q - sqrt(dl^2 - 2 phi dl du' + du'^2)  to  p - q + sqrt(du^2 - 2 phi du dl' + dl'^2)

where dl, du (and dl', du') are how far Wilson's limits lie from p (and q), and phi is the correlation of the answers.
A mean has the percentiles of the means of its values drawn again, with replacement (Efron 1979, Ann. Statist. 7, 1-26).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

Z_95 = 1.959963984540054
RESAMPLES = 10_000


class Value(Protocol):
    """A figure with its 95 per cent interval, of n answers."""

    @property
    def n(self) -> int:
        """How many answers it sums up."""
        ...

    @property
    def value(self) -> float:
        """The figure; not a number where nothing was tried."""
        ...

    @property
    def interval(self) -> tuple[float, float]:
        """Its limits."""
        ...

    def shown(self, value: float) -> str:
        """Write the figure, one of its limits or what is asked of it, with the unit."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


def wilson(right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the interval (low, high) for `right` successes in `n` trials; (0, 1) where nothing was tried."""
    if not 0 <= right <= n:
        raise ValueError(f"there cannot be {right} successes in {n} trials")
    if n == 0:
        return 0.0, 1.0
    p, over = right / n, z * z / n
    centre = (p + over / 2) / (1 + over)
    half = z * math.sqrt(p * (1 - p) / n + over / (4 * n)) / (1 + over)
    # At the ends the formula is exact, and only rounding would leave them.
    return 0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    right: int
    n: int

    @classmethod
    def of(cls, verdicts: Iterable[bool]) -> Share:
        """Count what is true."""
        listed = [bool(verdict) for verdict in verdicts]
        return cls(sum(listed), len(listed))

    @property
    def value(self) -> float:
        """The share in [0, 1]; not a number where nothing was tried."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 per cent interval."""
        return wilson(self.right, self.n)

    def shown(self, value: float) -> str:
        """Write a share in per cent."""
        return f"{100 * value:.1f}%"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, rounded to four places."""
        low, high = self.interval
        share = round(self.value, 4) if self.n else None
        return {"share": share, "low": round(low, 4), "high": round(high, 4), "right": self.right, "n": self.n}

    def __str__(self) -> str:
        """Write it as `62.5% (55.6 to 68.9, n = 200)`."""
        if not self.n:
            return "nothing tried"
        low, high = self.interval
        return f"{100 * self.value:5.1f}% ({100 * low:.1f} to {100 * high:.1f}, n = {self.n})"


def newcombe(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the interval (low, high) of the first share less the second, of the same questions.

    both, neither: questions that both, or neither, had right; first, second: those that only one had. Newcombe 1998,
    Stat. Med. 17, 2635-2650, method 10: Wilson's limits squared and added, phi corrected for continuity.
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
    """What a second way of answering the same questions has right more often than a first: gained less lost, of n."""

    both: int
    gained: int
    lost: int
    neither: int

    @classmethod
    def of(cls, before: Iterable[bool], after: Iterable[bool]) -> Gain:
        """Count how each question was answered before and after."""
        pairs = [(bool(was), bool(now)) for was, now in zip(before, after, strict=True)]
        return cls(*(pairs.count(kind) for kind in ((True, True), (False, True), (True, False), (False, False))))

    @property
    def n(self) -> int:
        """How many questions there were."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def value(self) -> float:
        """The difference of the shares in [-1, 1]; not a number where nothing was tried."""
        return (self.gained - self.lost) / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Newcombe's 95 per cent interval."""
        return newcombe(self.both, self.gained, self.lost, self.neither)

    def shown(self, value: float) -> str:
        """Write a difference in points of per cent."""
        return f"{100 * value:+.1f} points"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, rounded to four places."""
        low, high = self.interval
        difference = round(self.value, 4) if self.n else None
        counts = {"gained": self.gained, "lost": self.lost, "n": self.n}
        return {"difference": difference, "low": round(low, 4), "high": round(high, 4), **counts}


@dataclass(frozen=True)
class Mean:
    """The mean of one number a picture, with a unit (% for numbers in [0, 1]) and how many places are worth writing."""

    values: tuple[float, ...]
    unit: str = ""
    places: int = 3

    @property
    def n(self) -> int:
        """How many numbers there are."""
        return len(self.values)

    @property
    def value(self) -> float:
        """The mean; not a number where there is nothing."""
        return math.fsum(self.values) / self.n if self.values else math.nan

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The bootstrap's 95 per cent interval, the same every time."""
        if not self.values:
            return -math.inf, math.inf
        chosen = torch.randint(self.n, (RESAMPLES, self.n), generator=torch.Generator().manual_seed(self.n))
        means = torch.tensor(self.values, dtype=torch.float64)[chosen].mean(dim=1)
        low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return low, high

    def shown(self, value: float) -> str:
        """Write it with its unit."""
        if self.unit == "%":
            return f"{100 * value:.1f}%"
        return f"{value:.{self.places}f} {self.unit}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, rounded to four places; no number where there is none."""
        low, high = (round(limit, 4) if math.isfinite(limit) else None for limit in self.interval)
        mean = round(self.value, 4) if self.n else None
        return {"mean": mean, "low": low, "high": high, "n": self.n, "unit": self.unit}
