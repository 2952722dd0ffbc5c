"""The application: one model, one store, their routes, and the middleware around them.

    app = create_app(sumi.load(), open_store("data"))

It draws from the start to the end of its lifespan. `make_server` runs it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sumi import __version__
from sumi.errors import SumiError
from sumi.pipelines import Artist
from sumi.pipelines.signing import find_certificate
from sumi.serving.adapters_api import adapters_routes
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError, to_api_error
from sumi.serving.explain_api import explain_routes
from sumi.serving.jobs_api import gallery_routes, jobs_routes
from sumi.serving.layers_api import layers_routes
from sumi.serving.metrics import TrafficCounter, format_metrics
from sumi.serving.middleware import AccessMiddleware, AdminKey
from sumi.serving.models_api import models_routes
from sumi.serving.openai_api import images_routes
from sumi.serving.provenance_api import provenance_routes
from sumi.serving.reviews_api import reviews_routes
from sumi.serving.service import Service
from sumi.serving.settings import ServerSettings
from sumi.serving.shutdown import GracefulServer
from sumi.serving.signed_urls import SignedUrls
from sumi.serving.slow_clients import BACKLOG, make_protocol, raise_connection_limit
from sumi.serving.teaching_runs import TeachingRuns
from sumi.serving.uploads import Uploads
from sumi.store import Store
from sumi.systems.unclip.artist import Sumi

__all__ = ["create_app", "make_server", "open_socket"]

log = logging.getLogger("sumi.serving")
SHUTDOWN_TIMEOUT_S: Final = 3
EXPOSED_HEADERS: Final = ("x-request-id", "retry-after", "x-should-retry")
"""Headers that the pages of allowed origins may read."""
MAX_HEAD_BYTES: Final = 32 * 1024


class StatusReply(BaseModel):
    """The state of the server."""

    status: str


def create_app(sumi: Artist, store: Store, settings: ServerSettings | None = None) -> FastAPI:
    """Return the application of a model and a store. The caller closes both."""
    settings, certificate = settings or ServerSettings(), find_certificate()
    state = AppState(
        Service(sumi, store, settings.limits, settings.queued),
        store,
        Uploads("" if certificate is None else certificate.anchors),
        SignedUrls(store.secret("links")),
        TrafficCounter(),
        TeachingRuns(sumi.folder if isinstance(sumi, Sumi) else None),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await state.uploads.start()
        await state.service.start()
        try:
            yield
        finally:
            await state.teaching.close()
            await state.service.close()
            await asyncio.to_thread(state.uploads.close)

    app = FastAPI(
        title="Sumi", version=__version__, summary="Words in, pictures out.", lifespan=lifespan, docs_url=None,
        redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.shared, app.state.connections = state, raise_connection_limit()
    settings = replace(settings, max_requests=min(settings.max_requests, max(1, app.state.connections * 2 // 3)))
    for routes in (
        images_routes, models_routes, provenance_routes, jobs_routes, gallery_routes, explain_routes, layers_routes,
        adapters_routes, reviews_routes, health_routes,
    ):  # fmt: skip
        app.include_router(routes(state))
    for kind in (ApiError, SumiError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle_error)
    app.add_middleware(AccessMiddleware, settings=settings, store=store, links=state.links, traffic=state.traffic)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["*"], expose_headers=EXPOSED_HEADERS,
        )  # fmt: skip
    return app


async def handle_error(request: Request, error: Exception) -> Response:
    """Return the response to an expected error."""
    api_error = to_api_error(error)
    if api_error.status == 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    return api_error.response()


def health_routes(state: AppState) -> APIRouter:
    """Return the routes for operators."""
    routes = APIRouter(tags=["state"], responses=RESPONSES)

    @routes.get("/health", summary="Whether the server is up; the one route that needs no key")
    async def health() -> StatusReply:
        return StatusReply(status="ok")

    @routes.get("/ready", summary="Whether the server draws: the engine runs and the database answers")
    async def ready() -> StatusReply:
        try:
            await asyncio.to_thread(state.store.keys.local)
        except Exception:
            raise ApiError(503, "the database does not answer", retry_after_s=5) from None
        if not (state.service.accepting and state.service.engine.alive):
            raise ApiError(503, "the server is stopping, or its engine has stopped", retry_after_s=5)
        return StatusReply(status="ready")

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Metrics in Prometheus' text format")
    async def metrics(key: AdminKey) -> PlainTextResponse:
        jobs = await asyncio.to_thread(state.store.jobs.counts)
        return PlainTextResponse(format_metrics(state.service.engine.metrics(), jobs, state.traffic))

    return routes


def open_socket(settings: ServerSettings) -> socket.socket:
    """Return a listening socket; SumiError where the address is taken or is not one of this machine."""
    if settings.socket is not None:
        return _open_unix_socket(settings.socket, 0o666 if settings.require_keys else 0o600)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise SumiError(f"cannot listen on {settings.authority}: {error.strerror or error}") from None


def _open_unix_socket(path: str, mode: int) -> socket.socket:
    """Return a listening Unix socket; one that a dead server left behind is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise SumiError("this system has no Unix sockets: use --host and --port")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other, suppress(ConnectionRefusedError):
                other.connect(path)
                raise SumiError(f"cannot listen at {path}: another server does")
            Path(path).unlink()
        listener.bind(path)
        Path(path).chmod(mode)
        listener.listen(BACKLOG)
    except (OSError, SumiError) as error:
        listener.close()
        if isinstance(error, SumiError):
            raise
        raise SumiError(f"cannot listen at {path}: {error.strerror or error}") from None
    return listener


def make_server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """Return a uvicorn server for an application; call its `run`, with a listening socket or without."""
    most = app.state.connections if settings.connections is None else settings.connections
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, http=make_protocol(settings.idle_timeout_s, most), ws="none",
        lifespan="on", server_header=False, access_log=False, log_level="warning", log_config=None, backlog=BACKLOG,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES, proxy_headers=False, loop="asyncio",
    )  # fmt: skip
    return GracefulServer(config, app.state.shared.service, settings.drain_timeout_s)
