"""A share of successes and how sure one may be of it: Wilson's score interval.

    centre = (p + z^2/2n) / (1 + z^2/n),    half = z sqrt(p(1 - p)/n + z^2/4n^2) / (1 + z^2/n)

with p = right/n and z = 1.96 for 95 per cent. Wilson 1927, J. Am. Stat. Assoc. 22, 209-212: unlike p +- 1.96 s it
stays within [0, 1] and says something sensible at 0 and at n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Z_95 = 1.959963984540054


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
