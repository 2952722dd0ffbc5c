"""How a server is run: where it listens, who may ask, and how much of everything it takes."""

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

    host, port: where it listens. names: hosts that it answers as, beside its own address and those of this machine.
    keyed: whether a key is needed; it must be wherever others can connect. queued: jobs that may wait. connections:
    open at once; None is as many as this process may open files. at_once: requests being answered. streams: event
    streams of one key. arriving, heavy: requests whose body is on its way, and those of them with a large one.
    json_bytes: of a body without pictures. upload_bytes, json_upload_bytes: of one with pictures, as a form, as JSON.
    patience_s: how long a client may send or read nothing to speak of. body_s: how long a body may take, beside a
    second for each 32 KiB. drain_s: how long a server that was told to stop goes on with what it draws. public_url: how
    browsers know it where a proxy stands before it, as in `https://example.org/sumi`. origins: other sites whose pages
    may ask. socket: a file to listen at instead of host and port. limits: the engine's. pages: paths that anybody may
    read, with all below them, since they hold nothing of anybody's: those of the studio.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    names: tuple[str, ...] = ()
    keyed: bool = False
    queued: int = 256
    connections: int | None = None
    at_once: int = 512
    streams: int = 32
    arriving: int = 128
    heavy: int = 16
    json_bytes: int = MIB
    upload_bytes: int = 64 * MIB
    json_upload_bytes: int = 32 * MIB
    patience_s: float = 10.0
    body_s: float = 30.0
    drain_s: float = 5.0
    public_url: str | None = None
    origins: tuple[str, ...] = ()
    socket: str | None = None
    limits: SchedulerLimits = field(default_factory=SchedulerLimits)
    pages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise SumiError(f"a port is a number from 0 to 65535, not {self.port}")
        if min(self.queued, self.limits.running) < 1:
            raise SumiError("at least 1 job must be drawn at a time, and at least 1 may wait")
        if not self.keyed and not self.is_loopback:
            raise SumiError(
                f"others can reach {self.host}, so it needs keys: make one with `sumi keys create NAME`,"
                " or listen on 127.0.0.1"
            )
        object.__setattr__(self, "origins", tuple(origin(url) for url in self.origins))
        if self.public_url is not None:
            object.__setattr__(self, "public_url", public_address(self.public_url))
            if not self.keyed:
                raise SumiError(
                    f"others can reach {self.public_url}, so it needs keys: make one with `sumi keys create NAME`"
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
        """Host and port, as an address has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def public_origin(self) -> str:
        """The public address without its path, as a browser's Origin says it."""
        return "/".join((self.public_url or "").split("/")[:3])

    @property
    def prefix(self) -> str:
        """The path of the public address: under it a proxy has all our paths."""
        return (self.public_url or "").removeprefix(self.public_origin)

    @property
    def hosts(self) -> frozenset[str]:
        """What a Host header may say, with or without a port."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host.casefold(),)
        public = () if self.public_url is None else (without_port(self.public_origin.partition("://")[2]),)
        return LOOPBACK | {*own, *public, *(name.casefold() for name in self.names)}


def origin(url: str, what: str = "an origin") -> str:
    """Return an address as a browser's Origin says it; SumiError for one with more to it than that."""
    said = url.casefold().removesuffix("/")
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?", said, re.ASCII):
        raise SumiError(f"{what} is that of a host, such as https://example.org, and not {url[:80]}")
    scheme, _, _ = said.partition(":")
    return said.removesuffix(":443" if scheme == "https" else ":80")


def public_address(url: str) -> str:
    """Return a public address in one form: an origin, and the path under which a proxy has us, if any."""
    scheme, separator, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    path = path.strip("/")
    if not re.fullmatch(r"(?:[\w.~-]+(?:/[\w.~-]+)*)?", path, re.ASCII) or {".", ".."} & set(path.split("/")):
        raise SumiError(f"a public address has a plain path, such as https://example.org/sumi, and not {url[:80]}")
    return origin(f"{scheme}{separator}{authority}", "a public address") + (f"/{path}" if path else "")


def without_port(authority: str) -> str:
    """Return the host of HOST or HOST:PORT."""
    return re.sub(r":\d{1,5}$", "", authority, flags=re.ASCII).casefold()


def needs_keys(store: Store) -> bool:
    """Whether a store has ever had a key that somebody was given; once it has, nobody comes in without one."""
    return any(key.id != LOCAL for key in store.keys.all())
