"""A listening server in a thread of this process: the tiny model, a store in a folder, a free port."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from PIL import Image

from sumi.pipelines import Artist
from sumi.serving.app import create_app, make_server
from sumi.serving.metrics import TrafficCounter
from sumi.serving.settings import ServerSettings
from sumi.store import Limits, NewKey, Store, open_store

SCOPES = ("draw", "read", "admin")
PATIENCE_S = 300
"""How long a test waits for a condition; long enough for a busy machine."""


@dataclass(frozen=True)
class Live:
    """A running server. token: of a key with all scopes. process: the uvicorn server that handles signals."""

    sumi: Artist
    store: Store
    settings: ServerSettings
    token: str
    process: uvicorn.Server
    app: FastAPI

    @property
    def traffic(self) -> TrafficCounter:
        traffic: TrafficCounter = self.app.state.shared.traffic
        return traffic

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def key(self, *scopes: str, limits: Limits | None = None) -> NewKey:
        """Make another key."""
        return self.store.keys.create("another", scopes=scopes or ("draw", "read"), limits=limits)

    def client(self, token: str | None = "") -> httpx.Client:
        """Return a client with a token: this server's own unless another is given, or None."""
        headers = {} if token is None else {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, trust_env=False)


@contextmanager
def serving(
    sumi: Artist,
    folder: Path,
    database: str | None = None,
    furnish: Callable[[FastAPI], object] = bool,
    **settings: object,
) -> Iterator[Live]:
    """Start a server and stop it. furnish: adds to its application."""
    with open_store(folder, database) as store:
        chosen = ServerSettings(**{"require_keys": True, "port": 0, **settings})  # type: ignore[arg-type]
        app = create_app(sumi, store, chosen)
        furnish(app)
        running = make_server(app, chosen)
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not running.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        token = store.keys.create("test", scopes=SCOPES).token
        yield Live(sumi, store, replace(chosen, port=port_of(running)), token, running, app)
        running.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"


def port_of(running: uvicorn.Server) -> int:
    port: int = running.servers[0].sockets[0].getsockname()[1]
    return port


def opened(data: bytes | str | None) -> Image.Image:
    """A picture from a file's bytes, or from base64."""
    assert data is not None
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True) if isinstance(data, str) else data))
    image.load()
    return image


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()
