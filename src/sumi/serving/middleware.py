"""Everybody comes in here: whose request it is, whether it may pass, how large it may be, what goes with the answer.

    request -> id -> host -> origin -> key -> allowance -> size -> place -> the routes -> headers -> answer

One ASGI layer around all routes, so that none can be forgotten. A web page elsewhere must not reach a server on its
reader's own machine: hosts are listed even on loopback (DNS rebinding), an `Origin` must be this very server, and a
browser that says that a request comes from another site is believed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import Counter, defaultdict
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sumi.serving.admission import Admission, Arrival, Place
from sumi.serving.body import Arriving, too_large
from sumi.serving.errors import ApiError, as_api_error
from sumi.serving.settings import LOOPBACK, ServerSettings, without_port
from sumi.serving.signed_urls import SignedUrls
from sumi.store import LOCAL, Key, Store

__all__ = ["AccessMiddleware", "TrafficCounter", "may"]

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
METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
OPEN: Final = "/health"
HEADS: Final = re.compile(r"/health|/ready|/v1/(?:models|files/[^/]+|gallery/[^/]+/content)")
"""Where HEAD is answered, as GET is, without the body."""
LONGEST_NAME: Final = 255
"""Bytes between two slashes of a path, the most that a file system takes."""
log = logging.getLogger("sumi.serving")


def new_request_id() -> str:
    """What an answer is known by, in our log and in a client's."""
    return f"req_{secrets.token_hex(16)}"


class TrafficCounter:
    """What came through the doors: how many requests are inside, how many there were by route and status.

    received: bytes of bodies, by the id of the key.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.received: Counter[str] = Counter()
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)


class AccessMiddleware:
    """The layer itself."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, store: Store, links: SignedUrls, traffic: TrafficCounter
    ) -> None:
        self.app, self.settings, self.store, self.links, self.traffic = app, settings, store, links, traffic
        self.admission = Admission(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        prefix = self.settings.prefix
        if prefix and scope.get("path", "").startswith(f"{prefix}/"):  # a proxy may leave the path as it was, or cut it
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status, began = time.perf_counter(), 500, False
        request_id, is_head = new_request_id(), scope["method"] == "HEAD"
        visit = Visit(self.admission, scope["path"])
        body = visit.body = Arriving(receive, self._most_bytes(scope), self.settings.body_s, visit.enter)
        inner = self._inner(scope)

        async def answer(message: Message) -> None:
            nonlocal status, began
            if body.refused is not None and not began:
                return  # whatever is made of half a body says less than what is said below
            if message["type"] == "http.response.start":
                began, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        method = scope["method"] if scope["method"] in METHODS else "other"
        self.traffic.inside += 1
        try:
            inner["state"]["key"] = None
            await self._admit(scope, inner["state"], Headers(scope=scope), visit)
            await self.app(inner, body, answer)
            if body.refused is not None:
                raise body.refused
        except Exception as error:
            refused = as_api_error(body.refused or error)
            if refused.status >= 500:
                log.exception("%s: %s %s", request_id, scope["method"], scope["path"])
            if began:  # half an answer is out: all that can be done is to break it off
                raise
            body.refused = None
            await refused.response()(inner, receive, answer)
        finally:
            visit.leave()
            self.traffic.inside -= 1
            self.traffic.received[visit.key] += body.came
            route = getattr(inner.get("route"), "path", "other")
            self.traffic.answered[method, route, status] += 1
            self.traffic.seconds[method, route] += time.perf_counter() - started

    def _inner(self, scope: Scope) -> Scope:
        """The request as the routes see it."""
        inner = {**scope, "state": dict(scope.get("state", {}))}
        if prefix := self.settings.prefix:
            inner["root_path"] = prefix
            inner["path"] = prefix + scope["path"]
        if scope["method"] == "HEAD" and (HEADS.fullmatch(scope["path"]) or self._is_page({**scope, "method": "GET"})):
            inner["method"] = "GET"
        return inner

    async def _admit(self, scope: Scope, state: dict[str, Any], headers: Headers, visit: Visit) -> None:
        """Find out whose request it is, and give it a place; raises ApiError where it may not come in."""
        if scope["path"] == OPEN:  # always answered, whatever else goes on and as whoever we are asked
            return
        self._check_host(headers)
        state["address"] = self._check_origin(scope, headers)
        path = scope["path"]
        if not path.isprintable() or max(len(name.encode()) for name in path.split("/")) > LONGEST_NAME:
            raise ApiError(404, "there is nothing of that name")
        key = await self._key(scope, headers)
        state["key"] = key
        visit.key = f"at {(scope.get('client') or ('this machine',))[0]}" if key is None else key.id
        if key is not None:
            await asyncio.to_thread(self.store.keys.admit, key)
        most = self._most_bytes(scope)
        if (length := headers.get("content-length", "")).isdecimal() and int(length[:20]) > most:
            raise too_large(most)
        if length.strip("0") or "transfer-encoding" in headers:
            visit.arrive(self._is_heavy(scope))
        else:
            visit.enter()

    def _check_host(self, headers: Headers) -> None:
        name = without_port(headers.get("host", ""))
        if name not in self.settings.hosts or len(headers.getlist("host")) != 1:
            raise ApiError(403, "this server does not answer as that host", code="host_not_allowed")

    def _check_origin(self, scope: Scope, headers: Headers) -> str:
        """Refuse pages of other sites; returns the address by which this server is known to whoever asks."""
        asked = f"{scope['scheme']}://{headers['host']}".casefold()
        own = self.settings.public_origin or asked
        origins = headers.getlist("origin")
        here = origins == [asked] and without_port(headers["host"]) in LOOPBACK
        invited = len(origins) == 1 and origins[0] in self.settings.origins
        if origins and origins != [own] and not here and not invited:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")
        site = headers.get("sec-fetch-site", "same-origin")
        # `none` is a person who typed the address. Another site may lead a person here, and fetch nothing; an invited
        # one may show pictures by their signed addresses, for which a browser sends no Origin.
        shown = bool(self.settings.origins) and self.links.opens(scope["path"], scope["query_string"])
        if site not in ("same-origin", "none") and not origins and not shown:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")
        return self.settings.public_url or asked

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
        if scope["path"] not in UPLOADS:
            return self.settings.json_bytes
        is_form = Headers(scope=scope).get("content-type", "").casefold().startswith("multipart/")
        return self.settings.upload_bytes if is_form else self.settings.json_upload_bytes


class Visit:
    """The places that one request has: while it arrives, then while it is answered."""

    def __init__(self, admission: Admission, path: str) -> None:
        self.admission, self.path, self.key = admission, path, ""
        self.body: Arriving | None = None
        self._arrival: Arrival | None = None
        self._place: Place | None = None

    def arrive(self, is_heavy: bool) -> None:
        """Take a place while the body arrives; ApiError where there is none."""
        assert self.body is not None
        self._arrival = self.admission.arrive(self.key, is_heavy, self.body.cut)

    def enter(self) -> None:
        """Take a place inside instead, once; ApiError where there is none."""
        self.admission.gone(self._arrival)
        if self._place is None and self.path != OPEN:
            self._place = self.admission.enter(self.key, self.path)

    def leave(self) -> None:
        """Free whatever place there is."""
        self.admission.gone(self._arrival)
        if self._place is not None:
            self._place.leave()


_ASK: Final = {"WWW-Authenticate": "Bearer"}


class RequireScope:
    """A dependency of routes: the request's key, if it has a scope; without it, 403."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __call__(self, request: Request) -> Key:
        """The key."""
        key: Key | None = request.state.key
        if key is None or self.scope not in key.scopes:
            raise ApiError(403, f"this key may not do that: it needs the scope {self.scope!r}", code="missing_scope")
        return key


may: Final = {scope: RequireScope(scope) for scope in ("draw", "read", "admin")}
"""Dependencies by the scope that they ask for."""
