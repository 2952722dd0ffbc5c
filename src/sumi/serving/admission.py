"""How many requests the server handles at once, in total and of each key.

    head -> arriving, while the body is on its way -> active, while the request is answered -> done

A request becomes active only once it has arrived in full, so a slow sender holds no place there. Where the places for
arriving requests run out, the slowest request of the key with the most of them is aborted. A key may hold as many
active places as are left for others (Choudhury and Hahne 1998, dynamic queue length thresholds); the local key may hold
them all. Event streams last as long as their client likes, so each key may have a fixed number.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sumi.serving.errors import ApiError
from sumi.serving.settings import ServerSettings
from sumi.store import LOCAL

__all__ = ["ActivePlace", "Admission", "Arrival"]

BUSY_RETRY_S: Final = 2
SLOW_S: Final = 3.0
"""After this long an arriving request may be aborted for another."""
RESERVED: Final = 8
"""Active places kept for `/ready` and `/metrics`."""
_STREAM = re.compile(r"/v1/(?:jobs/[^/]+/events|gallery/[^/]+/steps)")


@dataclass(eq=False)
class Arrival:
    """A request whose body is on its way. abort: ends it with status 408."""

    key: str
    is_large: bool
    abort: Callable[[], None]
    since: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        """How long it has been arriving."""
        return time.monotonic() - self.since


class Admission:
    """The places of one server; used in its event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.active: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.arrivals: set[Arrival] = set()

    def arrive(self, key: str, is_large: bool, abort: Callable[[], None]) -> Arrival:
        """Return a place for a request whose body arrives; ApiError where none can be freed."""
        most = self.settings.large_arriving if is_large else self.settings.arriving
        same = [arrival for arrival in self.arrivals if arrival.is_large == is_large]
        own = [arrival for arrival in same if arrival.key == key]
        if key != LOCAL and len(own) >= max(1, most - len(same)) and most:
            self._abort_slowest(own)
        elif len(same) >= most:
            counts = Counter(arrival.key for arrival in same)
            largest = max(counts.values(), default=0)
            self._abort_slowest([arrival for arrival in same if counts[arrival.key] == largest])
        arrival = Arrival(key, is_large, abort)
        self.arrivals.add(arrival)
        return arrival

    def _abort_slowest(self, candidates: list[Arrival]) -> None:
        slow = [arrival for arrival in candidates if arrival.age_s > SLOW_S]
        if not slow:
            raise make_overloaded_error()
        slowest = max(slow, key=lambda arrival: arrival.age_s)
        self.arrivals.discard(slowest)
        slowest.abort()

    def remove_arrival(self, arrival: Arrival | None) -> None:
        """Free the place of a request that has arrived or was given up."""
        if arrival is not None:
            self.arrivals.discard(arrival)

    def enter(self, key: str, path: str) -> ActivePlace:
        """Return an active place for a complete request; ApiError where there is none for it."""
        left = self.settings.max_requests - self.active.total()
        if left + (RESERVED if path in ("/ready", "/metrics") else 0) <= 0:
            raise make_overloaded_error()
        own = self.active[key]
        if key != LOCAL and own >= left > 0:
            message = f"{own} requests of this key are being answered, its share while {left} places are left"
            raise ApiError(429, message, code="key_share_exceeded", retry_after_s=BUSY_RETRY_S)
        is_stream = _STREAM.fullmatch(path) is not None
        if is_stream and self.streams[key] >= self.settings.streams:
            message = f"this key has {self.settings.streams} open event streams; close one of them"
            raise ApiError(429, message, code="too_many_streams", retry_after_s=BUSY_RETRY_S)
        return ActivePlace(self, key, is_stream)


class ActivePlace:
    """A place held by one request until `leave`."""

    def __init__(self, admission: Admission, key: str, is_stream: bool) -> None:
        self._admission, self._key, self._is_stream = admission, key, is_stream
        self._count(1)

    def leave(self) -> None:
        """Free the place."""
        self._count(-1)

    def _count(self, change: int) -> None:
        held = [self._admission.active] + ([self._admission.streams] if self._is_stream else [])
        for counter in held:
            counter[self._key] += change
            if not counter[self._key]:
                del counter[self._key]


def make_overloaded_error() -> ApiError:
    """Return the error of a busy server (429)."""
    return ApiError(429, "the server is busy; try again soon", code="overloaded", retry_after_s=BUSY_RETRY_S)
