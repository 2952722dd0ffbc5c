"""Everybody comes in here: whose request it is, whether it may pass, how large it may be, what goes with the answer.

    request -> id -> room -> host -> origin -> key -> allowance -> size -> the routes -> headers -> answer

One ASGI layer around all routes, so that none can be forgotten. A web page elsewhere must not reach a server on its
reader's own machine: hosts are listed even on loopback (DNS rebinding), an `Origin` must be this very server, and a
browser that says that a request comes from another site is believed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sumi.serving.errors import ApiError, as_api_error
from sumi.serving.links import Links
from sumi.serving.settings import LOOPBACK, Settings, without_port
from sumi.store import LOCAL, Key, Store

__all__ = ["Doors", "Traffic", "may"]

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""With every answer; one that has such a header already keeps its own."""
UPLOADS: Final = ("/v1/images/edits", "/v1/images/variations", "/v1/jobs", "/v1/content_provenance_checks")
METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
OPEN: Final = "/health"
BUSY_RETRY_S: Final = 2
log = logging.getLogger("sumi.serving")


def new_request_id() -> str:
    """What an answer is known by, in our log and in a client's."""
    return f"req_{secrets.token_hex(16)}"


class Traffic:
    """What came through the doors: how many requests are inside, and how many there were by route and status.

    heavy: those inside whose body is large, or does not say how large it is.
    """

    def __init__(self) -> None:
        self.inside = self.heavy = 0
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)


class Doors:
    """The layer itself."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store, links: Links, traffic: Traffic) -> None:
        self.app, self.settings, self.store, self.links, self.traffic = app, settings, store, links, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500
        request_id = new_request_id()
        began, body = False, Body(receive, self._most_bytes(scope))

        async def answer(message: Message) -> None:
            nonlocal status, began
            if body.too_large and not began:
                return  # whatever is made of half a body says less than what is said below
            if message["type"] == "http.response.start":
                began, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        method = scope["method"] if scope["method"] in METHODS else "other"
        heavy = self._is_heavy(scope)
        self.traffic.inside += 1
        self.traffic.heavy += heavy
        try:
            await self._admit(scope, Headers(scope=scope))
            await self.app(scope, body, answer)
            if body.too_large:
                raise too_large(body.most)
        except Exception as error:
            refused = as_api_error(error)
            if refused.status >= 500:
                log.exception("%s: %s %s", request_id, scope["method"], scope["path"])
            if began:  # half an answer is out: all that can be done is to break it off
                raise
            body.too_large = False
            await refused.response()(scope, receive, answer)
        finally:
            self.traffic.inside -= 1
            self.traffic.heavy -= heavy
            route = getattr(scope.get("route"), "path", "other")
            self.traffic.answered[method, route, status] += 1
            self.traffic.seconds[method, route] += time.perf_counter() - started

    async def _admit(self, scope: Scope, headers: Headers) -> None:
        """Find out whose request it is; raises ApiError where it may not come in."""
        too_heavy = self._is_heavy(scope) and self.traffic.heavy > self.settings.heavy
        if too_heavy or self.traffic.inside > self.settings.at_once:
            raise ApiError(429, "the server is busy; try again soon", code="overloaded", retry_after_s=BUSY_RETRY_S)
        scope.setdefault("state", {})
        self._check_host(headers)
        self._check_origin(scope, headers)
        if not scope["path"].isprintable():
            raise ApiError(404, "there is nothing of that name")
        key = await self._key(scope, headers)
        scope["state"]["key"] = key
        if key is not None:
            await asyncio.to_thread(self.store.keys.admit, key)
        most = self._most_bytes(scope)
        if (length := headers.get("content-length", "")).isdecimal() and int(length[:20]) > most:
            raise too_large(most)

    def _check_host(self, headers: Headers) -> None:
        name = without_port(headers.get("host", ""))
        if name not in self.settings.hosts or len(headers.getlist("host")) != 1:
            raise ApiError(403, "this server does not answer as that host", code="host_not_allowed")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        asked = f"{scope['scheme']}://{headers['host']}".casefold()
        own = scope["state"]["address"] = self.settings.public_url or asked
        origins = headers.getlist("origin")
        here = origins == [asked] and without_port(headers["host"]) in LOOPBACK
        if origins and origins != [own] and not here:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")
        site = headers.get("sec-fetch-site", "same-origin")
        # `none` is a person who typed the address. Another site may lead a person here, and fetch nothing.
        if site not in ("same-origin", "none") and not origins:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")

    async def _key(self, scope: Scope, headers: Headers) -> Key | None:
        """The key that a request has; None where it needs none; ApiError where it has none that opens anything."""
        if scope["path"] == OPEN or self._is_page(scope) or self.links.opens(scope["path"], scope["query_string"]):
            return None
        if not self.settings.keyed:  # whoever can connect sits at this machine; any token will do
            return await asyncio.to_thread(self.store.keys.local)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.casefold() != "bearer" or not token.strip():
            raise ApiError(401, "a key is needed: Authorization: Bearer sk-sumi-...", headers=_ASK)
        key = await asyncio.to_thread(self.store.keys.find, token.strip())
        if key is None or key.id == LOCAL:
            raise ApiError(401, "this key is unknown, revoked or expired", headers=_ASK)
        return key

    def _is_page(self, scope: Scope) -> bool:
        """Whether it is a page that holds nothing of anybody's, which asks for a key itself."""
        path = scope["path"]
        return scope["method"] == "GET" and any(
            path == page or path.startswith(f"{page}/") for page in self.settings.pages
        )

    def _is_heavy(self, scope: Scope) -> bool:
        """Whether a request brings more than every route takes, or does not say how much it brings."""
        length = Headers(scope=scope).get("content-length", "")
        light = length.isdecimal() and int(length[:20]) <= self.settings.json_bytes
        return scope["method"] == "POST" and scope["path"] in UPLOADS and not light

    def _most_bytes(self, scope: Scope) -> int:
        return self.settings.upload_bytes if scope["path"] in UPLOADS else self.settings.json_bytes


class Body:
    """A request's body, counted as it comes, whatever its headers said of it."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.most, self.came, self.too_large = receive, most, 0, False

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self.receive()
        self.came += len(message.get("body", b""))
        if self.came > self.most:
            self.too_large = True
            raise too_large(self.most)
        return message


_ASK: Final = {"WWW-Authenticate": "Bearer"}


class May:
    """A dependency of routes: the request's key, if it has a scope; without it, 403."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __call__(self, request: Request) -> Key:
        """The key."""
        key: Key | None = request.state.key
        if key is None or self.scope not in key.scopes:
            raise ApiError(403, f"this key may not do that: it needs the scope {self.scope!r}", code="missing_scope")
        return key


may: Final = {scope: May(scope) for scope in ("draw", "read", "admin")}
"""Dependencies by the scope that they ask for."""


def too_large(most: int) -> ApiError:
    """413."""
    return ApiError(413, f"the request is over {most // 2**20} MB, the most that is taken here")
