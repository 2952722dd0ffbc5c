"""Connections: how many there may be, and how slow a client may be before it is cut off.

    every patience_s:   a request whose head is still not whole, a body of which less than LEAST_BYTES came,
                        or an answer of which nothing was taken        ->  the connection ends
    answered, with a body still on its way     ->  the connection ends after LINGER_S
    one connection too many                    ->  one that is not being answered ends, of the address with the most

Uvicorn has no such limits of its own. A request that waits for its picture is not slow: it is our turn. The number of
connections keeps within the files that this process may open, so a new one always finds room. An address other than
this machine's, where a proxy may stand, has at most half of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from typing import Final, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sumi.serving.errors import PlainJSON, error_body
from sumi.serving.middleware import HEADERS, new_request_id

__all__ = ["BACKLOG", "most_connections", "slow_client_protocol"]

THIS_MACHINE: Final = ("127.0.0.1", "::1", "")
"""Addresses of this machine; a Unix socket has none."""

LEAST_BYTES: Final = 1024
LINGER_S: Final = 2.0
"""How long a client has to read an answer that came before it had sent its whole request."""
MOST_CONNECTIONS: Final = 4096
KEPT_FILES: Final = 256
"""Files that this process may open beside its connections: database, pictures, model, and the BACKLOG."""
BACKLOG: Final = 128
"""Connections that the system accepts at once, before we can look at the first."""


def most_connections() -> int:
    """Raise the number of files that this process may open as far as it may, and return how many are for clients."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such bound
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + KEPT_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS has a bound of its own below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, soft - min(KEPT_FILES, soft // 2))


def slow_client_protocol(patience_s: float, most: int = MOST_CONNECTIONS) -> type[H11Protocol]:
    """Return a protocol for uvicorn that waits so long, and has so many connections at once."""
    return type("PatientProtocol", (SlowClientProtocol,), {"patience_s": patience_s, "most": most})


def _send_at_once(transport: asyncio.Transport) -> None:
    """Switch Nagle's algorithm off; with it, the body of an answer waits up to 40 ms for the client's word on its head.

    asyncio does so itself only where the listening socket names its protocol, which `socket.create_server` leaves out.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class SlowClientProtocol(H11Protocol):
    """Uvicorn's protocol over h11, which looks up now and then whether its client still moves."""

    patience_s = 10.0
    most = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for it, and begin to look."""
        super().connection_made(transport)
        _send_at_once(transport)
        self.address, self.since = (self.client or ("",))[0], self.loop.time()
        self._came = self._requests = self._resumed = 0
        self._seen: ConnectionState | None = None
        self._look = self.loop.call_later(self.patience_s, self._look_up)
        self._make_room()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """End a connection where there is one too many: an idle one if there is one, else this one."""
        if len(self.connections) <= self.most // 2:
            return
        open_now = [
            one for one in self.connections if isinstance(one, SlowClientProtocol) and not one.transport.is_closing()
        ]
        counts = Counter(one.address for one in open_now)
        own_share = self.most if self.address in THIS_MACHINE else max(1, self.most // 2)
        if counts[self.address] > own_share:
            candidates = [one for one in open_now if one.address == self.address]
        elif len(open_now) > self.most:
            largest = max(counts.values())
            candidates = [one for one in open_now if counts[one.address] == largest]
        else:
            return
        idle = [one for one in candidates if one.is_idle and one is not self]
        chosen = min(idle, key=lambda one: (one._requests > 0, one.since), default=self)
        chosen.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        self._came += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Likewise requests."""
        before = self.cycle
        super().handle_events()
        self._requests += self.cycle is not before

    def resume_writing(self) -> None:
        """Likewise how often a client that had fallen behind took what was waiting."""
        self._resumed += 1
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on to the next request; end the connection where the client does not come to the end of this one."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.loop.call_later(LINGER_S, self._end_unfinished, self.cycle)

    def _end_unfinished(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every other answer."""
        if self.cycle is not None and not self.cycle.response_complete:  # whoever answers it answers nobody
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        said = error_body("this is no HTTP request", "invalid_request_error", None, "invalid_http")
        body = PlainJSON(said, 400, {**HEADERS, "x-request-id": new_request_id(), "connection": "close"})
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=400, headers=body.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(body.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look_up(self) -> None:
        if self._is_stuck():
            self.transport.abort()
            return
        self._look = self.loop.call_later(self.patience_s, self._look_up)

    def _is_stuck(self) -> bool:
        """Whether the client did too little since we last looked."""
        before, state = self._seen, self.conn.their_state
        now = self._seen = ConnectionState(
            state, self._requests, self._came, self._resumed, self.transport.get_write_buffer_size()
        )  # fmt: skip
        if before is None:
            return now.requests == 0
        if self.flow.write_paused and now.resumed == before.resumed and now.unread >= before.unread > 0:
            return True
        if now.requests != before.requests:
            return False
        if state is h11.SEND_BODY and before.state is h11.SEND_BODY and not self.flow.read_paused:
            return now.came - before.came < LEAST_BYTES
        # Between two requests uvicorn itself waits for a moment only; what is left here is half a head.
        return state is h11.IDLE and self.timeout_keep_alive_task is None


class ConnectionState(NamedTuple):
    """How a connection stood when it was looked at."""

    state: object
    requests: int
    came: int
    resumed: int
    unread: int
