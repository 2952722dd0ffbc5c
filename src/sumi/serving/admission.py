"""How many requests the server holds at once, in all and of each key.

    head -> arriving, while its body is on the way -> inside, while it is answered -> gone

A request takes a place inside only when it has arrived whole, so a slow sender holds none. Where the places for
arriving requests run out, the slowest request of the key that has the most gives up its place. Inside, a key may hold
as many places as are left for the others (Choudhury and Hahne 1998, dynamic queue length thresholds); the key of this
machine may hold them all. Event streams last as long as their client likes, so each key has a fixed number of them.
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

__all__ = ["Admission", "Arrival"]

BUSY_RETRY_S: Final = 2
SLOW_S: Final = 3.0
"""A request that arrives for longer than this may lose its place to another."""
RESERVED: Final = 8
"""Places inside that are kept for `/ready` and `/metrics`."""
_STREAM = re.compile(r"/v1/(?:jobs/[^/]+/events|gallery/[^/]+/steps)")


@dataclass(eq=False)
class Arrival:
    """A request whose body is on the way. cut: ends it."""

    key: str
    is_heavy: bool
    cut: Callable[[], None]
    since: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        """For how long it has been arriving."""
        return time.monotonic() - self.since


class Admission:
    """The places of one server; used in its event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.inside: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.arrivals: set[Arrival] = set()

    def arrive(self, key: str, is_heavy: bool, cut: Callable[[], None]) -> Arrival:
        """Give a request a place while its body arrives; ApiError where no place can be made."""
        most = self.settings.heavy if is_heavy else self.settings.arriving
        same = [arrival for arrival in self.arrivals if arrival.is_heavy == is_heavy]
        own = [arrival for arrival in same if arrival.key == key]
        if key != LOCAL and len(own) >= max(1, most - len(same)) and most:
            self._make_room(own)
        elif len(same) >= most:
            counts = Counter(arrival.key for arrival in same)
            largest = max(counts.values(), default=0)
            self._make_room([arrival for arrival in same if counts[arrival.key] == largest])
        arrival = Arrival(key, is_heavy, cut)
        self.arrivals.add(arrival)
        return arrival

    def _make_room(self, candidates: list[Arrival]) -> None:
        slow = [arrival for arrival in candidates if arrival.age_s > SLOW_S]
        if not slow:
            raise busy()
        oldest = max(slow, key=lambda arrival: arrival.age_s)
        self.arrivals.discard(oldest)
        oldest.cut()

    def gone(self, arrival: Arrival | None) -> None:
        """Free the place of a request that arrived, or never will."""
        if arrival is not None:
            self.arrivals.discard(arrival)

    def enter(self, key: str, path: str) -> Place:
        """Give a whole request a place inside; ApiError where there is none for it."""
        left = self.settings.at_once - self.inside.total()
        if left + (RESERVED if path in ("/ready", "/metrics") else 0) <= 0:
            raise busy()
        if key != LOCAL and self.inside[key] >= left > 0:
            own = f"{self.inside[key]} requests of this key are being answered, its share while {left} places are left"
            raise ApiError(429, own, code="key_share_exceeded", retry_after_s=BUSY_RETRY_S)
        streams = _STREAM.fullmatch(path) is not None
        if streams and self.streams[key] >= self.settings.streams:
            said = f"this key follows {self.settings.streams} event streams already; close one of them"
            raise ApiError(429, said, code="too_many_streams", retry_after_s=BUSY_RETRY_S)
        return Place(self, key, streams)


class Place:
    """A place inside, from its making until `leave`."""

    def __init__(self, admission: Admission, key: str, streams: bool) -> None:
        self._admission, self._key, self._streams = admission, key, streams
        self._count(1)

    def leave(self) -> None:
        """Free the place."""
        self._count(-1)

    def _count(self, more: int) -> None:
        held = [self._admission.inside] + ([self._admission.streams] if self._streams else [])
        for counter in held:
            counter[self._key] += more
            if not counter[self._key]:
                del counter[self._key]


def busy() -> ApiError:
    """429."""
    return ApiError(429, "the server is busy; try again soon", code="overloaded", retry_after_s=BUSY_RETRY_S)
