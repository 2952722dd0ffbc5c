"""The application: one model, one store, their routes, and the doors around them.

    app = create_app(sumi.load(), open_store("data"))

It draws while it is open, from the start to the end of its lifespan. `serve` runs it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sumi import __version__
from sumi.errors import SumiError
from sumi.pipelines import Artist
from sumi.serving.app_state import AppState
from sumi.serving.errors import RESPONSES, ApiError, as_api_error
from sumi.serving.explain_api import evidence_routes
from sumi.serving.jobs_api import gallery_routes, jobs_routes
from sumi.serving.layers_api import layers_routes
from sumi.serving.metrics import exposition
from sumi.serving.middleware import AccessMiddleware, TrafficCounter, may
from sumi.serving.models_api import models_routes
from sumi.serving.openai_api import images_routes
from sumi.serving.service import Service
from sumi.serving.settings import ServerSettings
from sumi.serving.shutdown import GracefulServer
from sumi.serving.signed_urls import SignedUrls
from sumi.serving.slow_clients import BACKLOG, most_connections, slow_client_protocol
from sumi.serving.uploads import Uploads
from sumi.store import Key, Store

__all__ = ["create_app", "listening_socket", "server"]

log = logging.getLogger("sumi.serving")
FAREWELL_S = 3
EXPOSED = ("x-request-id", "retry-after", "x-should-retry")
"""Headers that the pages of invited sites may read."""
LONGEST_HEAD_BYTES = 32 * 1024


class State(BaseModel):
    """How the server is."""

    status: str


def create_app(sumi: Artist, store: Store, settings: ServerSettings | None = None) -> FastAPI:
    """Return the application of a model and a store, neither of which it closes."""
    settings = settings or ServerSettings()
    desk = AppState(
        Service(sumi, store, settings.limits, settings.queued),
        store,
        Uploads(),
        SignedUrls(store.secret("links")),
        TrafficCounter(),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await desk.uploads.begin()
        await desk.service.begin()
        try:
            yield
        finally:
            await desk.service.close()
            await asyncio.to_thread(desk.uploads.close)

    app = FastAPI(
        title="Sumi", version=__version__, summary="Words in, pictures out.", lifespan=lifespan, docs_url=None,
        redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.desk, app.state.connections = desk, most_connections()
    settings = replace(settings, at_once=min(settings.at_once, max(1, app.state.connections * 2 // 3)))
    every = (images_routes, models_routes, jobs_routes, gallery_routes, evidence_routes, layers_routes, state_routes)
    for routes in every:
        app.include_router(routes(desk))
    for kind in (ApiError, SumiError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, error_response)
    app.add_middleware(AccessMiddleware, settings=settings, store=store, links=desk.links, traffic=desk.traffic)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["*"], expose_headers=EXPOSED,
        )  # fmt: skip
    return app


async def error_response(request: Request, error: Exception) -> Response:
    """Any foreseen error as an answer."""
    refused = as_api_error(error)
    if refused.status == 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    return refused.response()


def state_routes(desk: AppState) -> APIRouter:
    """How the server is, for those who keep it running."""
    routes = APIRouter(tags=["state"], responses=RESPONSES)

    @routes.get("/health", summary="Whether it lives; the one route that needs no key")
    async def health() -> State:
        return State(status="ok")

    @routes.get("/ready", summary="Whether it draws: the engine works and the database answers")
    async def ready() -> State:
        try:
            await asyncio.to_thread(desk.store.keys.local)
        except Exception:
            raise ApiError(503, "the database does not answer", retry_after_s=5) from None
        if not (desk.service.open and desk.service.engine.alive):
            raise ApiError(503, "the server is stopping, or its engine has", retry_after_s=5)
        return State(status="ready")

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Figures, as Prometheus reads them")
    async def metrics(key: Annotated[Key, Depends(may["admin"])]) -> PlainTextResponse:
        jobs = await asyncio.to_thread(desk.store.jobs.counts)
        return PlainTextResponse(exposition(desk.service.engine.metrics(), jobs, desk.traffic))

    return routes


def listening_socket(settings: ServerSettings) -> socket.socket:
    """Return a socket at which a server may be asked; SumiError where another has that address, or it is not here."""
    if settings.socket is not None:
        return _unix_socket(settings.socket, 0o666 if settings.keyed else 0o600)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise SumiError(f"cannot listen on {settings.authority}: {error.strerror or error}") from None


def _unix_socket(path: str, mode: int) -> socket.socket:
    """Return a socket that is a file; one that a server left behind is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise SumiError("this system has no sockets that are files: listen at --host and --port")
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other, suppress(ConnectionRefusedError):
                other.connect(path)
                raise SumiError(f"cannot listen at {path}: another server does")
            Path(path).unlink()
        door.bind(path)
        Path(path).chmod(mode)
        door.listen(BACKLOG)
    except (OSError, SumiError) as error:
        door.close()
        if isinstance(error, SumiError):
            raise
        raise SumiError(f"cannot listen at {path}: {error.strerror or error}") from None
    return door


def server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """Return uvicorn, set up for an application: `run` it, with a socket that listens or one of its own."""
    most = app.state.connections if settings.connections is None else settings.connections
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, http=slow_client_protocol(settings.patience_s, most), ws="none",
        lifespan="on", server_header=False, access_log=False, log_level="warning", log_config=None, backlog=BACKLOG,
        timeout_graceful_shutdown=FAREWELL_S,
        h11_max_incomplete_event_size=LONGEST_HEAD_BYTES, proxy_headers=False, loop="asyncio",
    )  # fmt: skip
    return GracefulServer(config, app.state.desk.service, settings.drain_s)
