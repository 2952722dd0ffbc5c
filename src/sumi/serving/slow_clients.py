"""Limits on slow clients and on connections, as a protocol class for uvicorn.

    a head or body that hardly grows           ->  the connection closes after idle_timeout_s
    an answer that nobody reads                ->  the connection closes after idle_timeout_s
    answered, with the body still on its way   ->  the connection closes after LINGER_S
    one connection too many                    ->  an idle one closes, of the address with the most

Uvicorn has no such limits. A client that waits for its picture is not slow: it is our turn. The number of connections
stays below the number of files that this process may open, so a new one always finds room. An address other than this
machine's, where a proxy may stand, has at most half of them.
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
from sumi.serving.middleware import HEADERS, make_request_id

__all__ = ["BACKLOG", "make_protocol", "raise_connection_limit"]

THIS_MACHINE: Final = ("127.0.0.1", "::1", "")
"""Addresses of this machine; a Unix socket has an empty one."""
MIN_BYTES: Final = 1024
LINGER_S: Final = 2.0
"""How long a client may take to read an answer that came before the end of its request."""
MAX_CONNECTIONS: Final = 4096
RESERVED_FILES: Final = 256
"""Files kept for everything else: database, pictures, model, and the BACKLOG."""
BACKLOG: Final = 128
"""Connections that the system accepts before we handle the first."""


def raise_connection_limit() -> int:
    """Raise this process's limit of open files as far as allowed, and return how many connections fit into it."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return MAX_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS has a limit of its own below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, soft - min(RESERVED_FILES, soft // 2))


def make_protocol(idle_timeout_s: float, most: int = MAX_CONNECTIONS) -> type[H11Protocol]:
    """Return a protocol for uvicorn that waits so long, and has so many connections at once."""
    return type("PatientProtocol", (SlowClientProtocol,), {"patience_s": idle_timeout_s, "most": most})


def _send_at_once(transport: asyncio.Transport) -> None:
    """Switch Nagle's algorithm off; with it an answer's body waits up to 40 ms for the client to acknowledge the head.

    asyncio does so only where the listening socket names its protocol, which `socket.create_server` leaves out.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class SlowClientProtocol(H11Protocol):
    """Uvicorn's h11 protocol, which checks now and then whether its client makes progress."""

    idle_timeout_s = 10.0
    most = MAX_CONNECTIONS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room for the connection, and start the checks."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        _send_at_once(transport)
        self.address, self.opened_s = (self.client or ("",))[0], self.loop.time()
        self._received = self._requests = self._resumed = 0
        self._last_state: ConnectionState | None = None
        self._timer = self.loop.call_later(self.idle_timeout_s, self._check_client)
        self._make_room()

    @property
    def is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        """Close a connection where there is one too many: an idle one, or else this one."""
        if len(self.connections) <= self.most // 2:
            return
        open_now = [
            one for one in self.connections if isinstance(one, SlowClientProtocol) and not one.transport.is_closing()
        ]
        counts = Counter(one.address for one in open_now)
        share = self.most if self.address in THIS_MACHINE else max(1, self.most // 2)
        if counts[self.address] > share:
            candidates = [one for one in open_now if one.address == self.address]
        elif len(open_now) > self.most:
            largest = max(counts.values())
            candidates = [one for one in open_now if counts[one.address] == largest]
        else:
            return
        idle = [one for one in candidates if one.is_idle and one is not self]
        chosen = min(idle, key=lambda one: (one._requests > 0, one.opened_s), default=self)
        chosen.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the checks."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count received bytes."""
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Count requests."""
        before = self.cycle
        super().handle_events()
        self._requests += self.cycle is not before

    def resume_writing(self) -> None:
        """Count how often a slow reader drained the send buffer."""
        self._resumed += 1
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on to the next request; close the connection where the client does not finish this one."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.loop.call_later(LINGER_S, self._end_unfinished, self.cycle)

    def _end_unfinished(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP in the form of every other error."""
        if self.cycle is not None and not self.cycle.response_complete:  # its client is gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        error = error_body("this is not an HTTP request", "invalid_request_error", None, "invalid_http")
        body = PlainJSON(error, 400, {**HEADERS, "x-request-id": make_request_id(), "connection": "close"})
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=400, headers=body.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(body.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _check_client(self) -> None:
        if self._is_stuck():
            self.transport.abort()
            return
        self._timer = self.loop.call_later(self.idle_timeout_s, self._check_client)

    def _is_stuck(self) -> bool:
        """Return whether the client made too little progress since the last check."""
        before, state = self._last_state, self.conn.their_state
        now = self._last_state = ConnectionState(
            state, self._requests, self._received, self._resumed, self.transport.get_write_buffer_size()
        )  # fmt: skip
        if before is None:
            return now.requests == 0
        if self.flow.write_paused and now.resumed == before.resumed and now.unsent >= before.unsent > 0:
            return True
        if now.requests != before.requests:
            return False
        if state is h11.SEND_BODY and before.state is h11.SEND_BODY and not self.flow.read_paused:
            return now.received - before.received < MIN_BYTES
        # Between two requests uvicorn has a timeout of its own; what is left here is an unfinished head.
        return state is h11.IDLE and self.timeout_keep_alive_task is None


class ConnectionState(NamedTuple):
    """A connection at one check."""

    state: object
    requests: int
    received: int
    resumed: int
    unsent: int
