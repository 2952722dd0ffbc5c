"""How a server is run: where it listens, who may ask, and how much of everything it takes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from sumi.errors import SumiError
from sumi.serving.scheduler import Limits
from sumi.store import LOCAL, Store

__all__ = ["Settings", "needs_keys"]

MIB: Final = 2**20


@dataclass(frozen=True)
class Settings:
    """A server's settings.

    host, port: where it listens. names: hosts that it answers as, beside its own address and those of this machine.
    keyed: whether a key is needed; it must be wherever others can connect. queued: jobs that may wait. at_once:
    requests being answered; heavy: those among them with a large body. json_bytes, upload_bytes: of a body without and
    with pictures. patience_s: how long a client may send or read nothing to speak of. limits: the engine's.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    names: tuple[str, ...] = ()
    keyed: bool = False
    queued: int = 256
    at_once: int = 512
    heavy: int = 16
    json_bytes: int = MIB
    upload_bytes: int = 64 * MIB
    patience_s: float = 10.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise SumiError(f"a port is a number from 0 to 65535, not {self.port}")
        if not self.keyed and not self.is_loopback:
            raise SumiError(
                f"others can reach {self.host}, so it needs keys: make one with `sumi keys create NAME`,"
                " or listen on 127.0.0.1"
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
    def hosts(self) -> frozenset[str]:
        """What a Host header may say, with or without a port."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host.casefold(),)
        return frozenset({"localhost", "127.0.0.1", "[::1]", *own, *(name.casefold() for name in self.names)})


def needs_keys(store: Store) -> bool:
    """Whether a store has ever had a key that somebody was given; once it has, nobody comes in without one."""
    return any(key.id != LOCAL for key in store.keys.all())
