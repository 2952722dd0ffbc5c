"""A log that cannot be flooded: of each place in the code, a few lines a minute pass.

The first line of the next minute counts those that were left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["LogRateFilter"]

MAX_RECORDS: Final = 10
PERIOD_S: Final = 60.0


class LogRateFilter(logging.Filter):
    """Passes at most `max_records` records of each place in the code every `PERIOD_S` seconds; put it on a handler."""

    def __init__(self, max_records: int = MAX_RECORDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._max_records, self._clock = max_records, clock
        self._counts: dict[tuple[str, int, str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes."""
        place = (record.name, record.levelno, record.pathname, record.lineno)
        since, count = self._counts.get(place, (self._clock(), 0))
        if self._clock() - since >= PERIOD_S:
            if (left_out := count - self._max_records) > 0:
                record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it before)", ()
            since, count = self._clock(), 0
        self._counts[place] = since, count + 1
        return count < self._max_records
