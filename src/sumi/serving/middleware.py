"""Access control: whose request it is, whether it may pass, how large it may be, which headers go with the answer.

    request -> id -> host -> origin -> key -> allowance -> size -> place -> the routes -> headers -> answer

One ASGI middleware wraps all routes, so no route can miss it. A page of another site must not reach a server on its
reader's own machine. So the Host header is checked even on loopback (DNS rebinding), an Origin must be this server's,
and a request that a browser marks as cross-site is refused.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sumi.serving.admission import ActivePlace, Admission, Arrival
from sumi.serving.errors import ApiError, to_api_error
from sumi.serving.metrics import TrafficCounter
from sumi.serving.request_body import IncomingBody, make_too_large_error
from sumi.serving.settings import LOOPBACK, ServerSettings, strip_port
from sumi.serving.signed_urls import SignedUrls
from sumi.store import LOCAL, Key, Store

__all__ = ["AccessMiddleware", "AdminKey", "DrawKey", "ReadKey"]

HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""Sent with every answer that does not set them itself."""
AUTHENTICATE: Final = {"WWW-Authenticate": "Bearer"}
UPLOADS: Final = (
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/jobs",
    "/v1/content_provenance_checks",
    "/v1/adapters",
)
METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
OPEN: Final = "/health"
HEADS: Final = re.compile(r"/health|/ready|/v1/(?:models|files/[^/]+|gallery/[^/]+/content)")
"""Paths that answer HEAD, as GET without the body."""
MAX_SEGMENT_BYTES: Final = 255
"""The longest path segment: the longest name of a file."""
log = logging.getLogger("sumi.serving")


def make_request_id() -> str:
    """Return an id that names a request in our log and in the client's."""
    return f"req_{secrets.token_hex(16)}"


class AccessMiddleware:
    """The ASGI middleware."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, store: Store, links: SignedUrls, traffic: TrafficCounter
    ) -> None:
        self.app, self.settings, self.store, self.links, self.traffic = app, settings, store, links, traffic
        self.admission = Admission(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        prefix = self.settings.prefix
        if prefix and scope.get("path", "").startswith(f"{prefix}/"):  # a proxy may keep the prefix or cut it off
            scope = {**scope, "path": scope["path"].removeprefix(prefix)}
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # there are no WebSocket routes
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s, status, has_started = time.perf_counter(), 500, False
        request_id, is_head = make_request_id(), scope["method"] == "HEAD"
        places = RequestPlaces(self.admission, scope["path"])
        body = IncomingBody(receive, self._max_bytes(scope), self.settings.body_timeout_s, places.enter)
        inner = self._inner_scope(scope)

        async def answer(message: Message) -> None:
            nonlocal status, has_started
            if body.refused is not None and not has_started:
                return  # the error below says more than an answer to half a body
            if message["type"] == "http.response.start":
                has_started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        method = scope["method"] if scope["method"] in METHODS else "other"
        self.traffic.active += 1
        try:
            inner["state"]["key"] = None
            await self._admit(scope, inner["state"], Headers(scope=scope), places, body)
            await self.app(inner, body, answer)
            if body.refused is not None:
                raise body.refused
        except Exception as error:
            api_error = to_api_error(body.refused or error)
            if api_error.status >= 500:
                log.exception("%s: %s %s", request_id, scope["method"], scope["path"])
            if has_started:  # part of an answer is out: closing the connection is all that is left
                raise
            body.refused = None
            await api_error.response()(inner, receive, answer)
        finally:
            places.leave()
            self.traffic.active -= 1
            self.traffic.received[places.key] += body.received_bytes
            route = "other" if (matched := inner.get("route")) is None else matched.path
            self.traffic.answered[method, route, status] += 1
            self.traffic.seconds[method, route] += time.perf_counter() - started_s

    def _inner_scope(self, scope: Scope) -> Scope:
        """Return the scope that the routes see."""
        inner = {**scope, "state": dict(scope.get("state", {}))}
        if prefix := self.settings.prefix:
            inner["root_path"] = prefix
            inner["path"] = prefix + scope["path"]
        if scope["method"] == "HEAD" and (HEADS.fullmatch(scope["path"]) or self._is_page({**scope, "method": "GET"})):
            inner["method"] = "GET"
        return inner

    async def _admit(
        self, scope: Scope, state: dict[str, Any], headers: Headers, places: RequestPlaces, body: IncomingBody
    ) -> None:
        """Find the request's key and give it a place; ApiError where it may not pass."""
        if scope["path"] == OPEN:  # always answered
            return
        self._check_host(headers)
        state["address"] = self._check_origin(scope, headers)
        path = scope["path"]
        if not path.isprintable() or max(len(name.encode()) for name in path.split("/")) > MAX_SEGMENT_BYTES:
            raise ApiError(404, "there is no such path")
        key = await self._find_key(scope, headers)
        state["key"] = key
        places.key = f"at {(scope.get('client') or ('this machine',))[0]}" if key is None else key.id
        if key is not None:
            await asyncio.to_thread(self.store.keys.admit, key)
        max_bytes = self._max_bytes(scope)
        if (length := headers.get("content-length", "")).isdecimal() and int(length[:20]) > max_bytes:
            raise make_too_large_error(max_bytes)
        if length.strip("0") or "transfer-encoding" in headers:
            places.arrive(self._is_large(scope), body.abort)
        else:
            places.enter()

    def _check_host(self, headers: Headers) -> None:
        name = strip_port(headers.get("host", ""))
        if name not in self.settings.allowed_hosts or len(headers.getlist("host")) != 1:
            raise ApiError(403, "this server does not answer under that Host", code="host_not_allowed")

    def _check_origin(self, scope: Scope, headers: Headers) -> str:
        """Refuse the pages of other sites; return the address under which the client knows this server."""
        requested = f"{scope['scheme']}://{headers['host']}".casefold()
        own = self.settings.public_origin or requested
        origins = headers.getlist("origin")
        is_local = origins == [requested] and strip_port(headers["host"]) in LOOPBACK
        is_allowed = len(origins) == 1 and origins[0] in self.settings.origins
        if origins and origins != [own] and not is_local and not is_allowed:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")
        site = headers.get("sec-fetch-site", "same-origin")
        # `none` is a person who typed the address. An allowed site may show pictures by their signed addresses, for
        # which a browser sends no Origin. Any other cross-site request without an Origin is refused.
        is_signed = bool(self.settings.origins) and self.links.opens(scope["path"], scope["query_string"])
        if site not in ("same-origin", "none") and not origins and not is_signed:
            raise ApiError(403, "requests from other sites are refused", code="origin_not_allowed")
        return self.settings.public_url or requested

    async def _find_key(self, scope: Scope, headers: Headers) -> Key | None:
        """Return a request's key, or None where it needs none; ApiError (401) where its key is missing or invalid."""
        if scope["path"] == OPEN or self._is_page(scope) or self.links.opens(scope["path"], scope["query_string"]):
            return None
        if not self.settings.require_keys:  # only this machine can connect, and any token will do
            return await asyncio.to_thread(self.store.keys.local)
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.casefold() != "bearer" or not token.strip():
            raise ApiError(401, "a key is needed: Authorization: Bearer sk-sumi-...", headers=AUTHENTICATE)
        key = await asyncio.to_thread(self.store.keys.find, token.strip())
        if key is None or key.id == LOCAL:
            raise ApiError(401, "this key is unknown, revoked or expired", headers=AUTHENTICATE)
        return key

    def _is_page(self, scope: Scope) -> bool:
        """Return whether a request asks for a public page."""
        path = scope["path"]
        return scope["method"] == "GET" and any(
            path == page or path.startswith(f"{page}/") for page in self.settings.public_paths
        )

    def _is_large(self, scope: Scope) -> bool:
        """Return whether an upload is larger than a plain JSON body, or does not declare its size."""
        length = Headers(scope=scope).get("content-length", "")
        is_small = length.isdecimal() and int(length[:20]) <= self.settings.json_bytes
        return scope["method"] == "POST" and scope["path"] in UPLOADS and not is_small

    def _max_bytes(self, scope: Scope) -> int:
        if scope["path"] not in UPLOADS:
            return self.settings.json_bytes
        is_form = Headers(scope=scope).get("content-type", "").casefold().startswith("multipart/")
        return self.settings.upload_bytes if is_form else self.settings.json_upload_bytes


class RequestPlaces:
    """The place of one request: among the arriving ones first, then among the active ones."""

    def __init__(self, admission: Admission, path: str) -> None:
        self.admission, self.path, self.key = admission, path, ""
        self._arrival: Arrival | None = None
        self._active: ActivePlace | None = None

    def arrive(self, is_large: bool, abort: Callable[[], None]) -> None:
        """Take a place while the body arrives; ApiError where there is none."""
        self._arrival = self.admission.arrive(self.key, is_large, abort)

    def enter(self) -> None:
        """Move to an active place, once; ApiError where there is none."""
        self.admission.remove_arrival(self._arrival)
        if self._active is None and self.path != OPEN:
            self._active = self.admission.enter(self.key, self.path)

    def leave(self) -> None:
        """Free the place."""
        self.admission.remove_arrival(self._arrival)
        if self._active is not None:
            self._active.leave()


class RequireScope:
    """A FastAPI dependency that returns the request's key; ApiError (403) where it lacks a scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __call__(self, request: Request) -> Key:
        """Return the key."""
        key: Key | None = request.state.key
        if key is None or self.scope not in key.scopes:
            raise ApiError(403, f"this key needs the scope {self.scope!r} for that", code="missing_scope")
        return key


DrawKey = Annotated[Key, Depends(RequireScope("draw"))]
ReadKey = Annotated[Key, Depends(RequireScope("read"))]
AdminKey = Annotated[Key, Depends(RequireScope("admin"))]
