"""How a server runs: where it listens, who may connect, and how much it accepts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from sumi.errors import SumiError
from sumi.serving.scheduler import SchedulerLimits
from sumi.store import LOCAL, Store

__all__ = ["ServerSettings", "needs_keys"]

MIB: Final = 2**20
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class ServerSettings:
    """A server's settings.

    Attributes:
        host, port: where it listens.
        host_names: further names that a Host header may hold, besides its own address and those of this machine.
        require_keys: whether requests need a key; must be True wherever other machines can connect.
        queued: jobs that may wait.
        connections: open connections; None means as many as this process may open files.
        max_requests: requests being answered at once.
        streams: event streams of one key.
        arriving: requests whose body is on its way.
        large_arriving: of those, requests with a large body.
        json_bytes: size of a JSON body without pictures.
        upload_bytes, json_upload_bytes: size of a body with pictures, as a form and as JSON.
        idle_timeout_s: how long a client may send or read almost nothing.
        body_timeout_s: how long a body may take, plus a second for each 32 KiB of it.
        drain_timeout_s: how long a stopping server finishes what it draws.
        public_url: the server's address behind a proxy, such as https://example.org/sumi.
        origins: other sites whose pages may send requests (CORS).
        socket: path of a Unix socket to listen at, instead of host and port.
        limits: the engine's limits.
        public_paths: paths that need no key, with everything below them: those of the studio's page.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    host_names: tuple[str, ...] = ()
    require_keys: bool = False
    queued: int = 256
    connections: int | None = None
    max_requests: int = 512
    streams: int = 32
    arriving: int = 128
    large_arriving: int = 16
    json_bytes: int = MIB
    upload_bytes: int = 64 * MIB
    json_upload_bytes: int = 32 * MIB
    idle_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    drain_timeout_s: float = 5.0
    public_url: str | None = None
    origins: tuple[str, ...] = ()
    socket: str | None = None
    limits: SchedulerLimits = field(default_factory=SchedulerLimits)
    public_paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise SumiError(f"a port is a number from 0 to 65535, not {self.port}")
        if min(self.queued, self.limits.running) < 1:
            raise SumiError("--running and --queued must be at least 1")
        if not self.require_keys and not self.is_loopback:
            raise SumiError(
                f"other machines can reach {self.host}, so it needs keys: make one with `sumi keys create NAME`,"
                " or listen on 127.0.0.1"
            )
        object.__setattr__(self, "origins", tuple(parse_origin(url) for url in self.origins))
        if self.public_url is not None:
            object.__setattr__(self, "public_url", parse_public_url(self.public_url))
            if not self.require_keys:
                raise SumiError(
                    f"other machines can reach {self.public_url}, so it needs keys: make one with"
                    " `sumi keys create NAME`"
                )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def authority(self) -> str:
        """HOST:PORT, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def public_origin(self) -> str:
        """The public address without its path, as in a browser's Origin header."""
        return "/".join((self.public_url or "").split("/")[:3])

    @property
    def prefix(self) -> str:
        """The path of the public address, which a proxy puts before all our paths."""
        return (self.public_url or "").removeprefix(self.public_origin)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The names that a Host header may hold, with or without a port."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host.casefold(),)
        public = () if self.public_url is None else (strip_port(self.public_origin.partition("://")[2]),)
        return LOOPBACK | {*own, *public, *(name.casefold() for name in self.host_names)}


def parse_origin(url: str, what: str = "an origin") -> str:
    """Return an address as browsers write it in an Origin header; SumiError where it holds more than that."""
    text = url.casefold().removesuffix("/")
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?", text, re.ASCII):
        raise SumiError(f"{what} should be like https://example.org, not {url[:80]}")
    scheme, _, _ = text.partition(":")
    return text.removesuffix(":443" if scheme == "https" else ":80")


def parse_public_url(url: str) -> str:
    """Return a public address in one form: an origin, and the path under which a proxy serves us, if any."""
    scheme, separator, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    path = path.strip("/")
    if not re.fullmatch(r"(?:[\w.~-]+(?:/[\w.~-]+)*)?", path, re.ASCII) or {".", ".."} & set(path.split("/")):
        raise SumiError(f"a public address should have a plain path, like https://example.org/sumi, not {url[:80]}")
    return parse_origin(f"{scheme}{separator}{authority}", "a public address") + (f"/{path}" if path else "")


def strip_port(authority: str) -> str:
    """Return the host of HOST or HOST:PORT, in lower case."""
    return re.sub(r":\d{1,5}$", "", authority, flags=re.ASCII).casefold()


def needs_keys(store: Store) -> bool:
    """Return whether a key was ever made in a store; from then on every request needs one."""
    return any(key.id != LOCAL for key in store.keys.all())
