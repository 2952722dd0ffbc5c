"""Clients that send or read slower than anybody honest are cut off, so that they hold no connection, and no memory.

    every patience_s:   a request whose head is still not whole, a body of which less than LEAST_BYTES came,
                        or an answer of which nothing was taken        ->  the connection ends

Uvicorn has no such limit of its own. A request that waits for its picture is not slow: it is our turn.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sumi.serving.doors import HEADERS, new_request_id
from sumi.serving.errors import PlainJSON, error_body

__all__ = ["patient"]

LEAST_BYTES: Final = 1024


def patient(patience_s: float) -> type[H11Protocol]:
    """Return a protocol for uvicorn that waits so long, and no longer."""
    return type("PatientProtocol", (Patient,), {"patience_s": patience_s})


class Patient(H11Protocol):
    """Uvicorn's protocol over h11, which looks up now and then whether its client still moves."""

    patience_s = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._came = self._requests = self._resumed = 0
        self._seen: Seen | None = None
        self._look = self.loop.call_later(self.patience_s, self._look_up)

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
        now = self._seen = Seen(
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


class Seen(NamedTuple):
    """How a connection stood when it was looked at."""

    state: object
    requests: int
    came: int
    resumed: int
    unread: int
