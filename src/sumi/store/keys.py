"""Keys: who may ask, for what, and how much.

    token = "sk-sumi-" + 192 random bits,    kept: sha256(token)

A token of that much chance cannot be guessed, so a plain hash is enough and a database that leaked gives no token
away. It is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.limits import Limits, spend
from sumi.store.schema import LOCAL, Key, plain_text

__all__ = ["LOCAL", "SCOPES", "Keys", "NewKey", "locked_key"]

PREFIX: Final = "sk-sumi-"
SCOPES: Final = ("draw", "read", "admin")
"""draw: make, cancel and remove what is one's own; read: see what is one's own; admin: see how the server is doing."""


@dataclass(frozen=True)
class NewKey:
    """A key and, this once, its token."""

    key: Key
    token: str = field(repr=False)


class Keys:
    """The keys of a database. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(
        self,
        name: str,
        *,
        scopes: Collection[str] = ("draw", "read"),
        lifetime_s: float | None = None,
        limits: Limits | None = None,
    ) -> NewKey:
        """Make a key; SumiError for a scope that there is not, or a life that is over before it begins."""
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise SumiError(f"there is no scope {unknown[0]!r}: the scopes are {', '.join(SCOPES)}")
        if not scopes:
            raise SumiError(f"a key without a scope opens nothing: give one of {', '.join(SCOPES)}")
        if lifetime_s is not None and not 0 < lifetime_s < 1e11:
            raise SumiError(f"a key must live for more than 0 s, and this one is given {lifetime_s:g} s")
        now, token = self._clock(), PREFIX + secrets.token_urlsafe(24)
        key = Key(
            id=f"key_{secrets.token_hex(16)}",
            name=plain_text(name, "the name of a key"),
            hint=token[: len(PREFIX) + 4],
            token_sha256=_sha256(token),
            scopes=[scope for scope in SCOPES if scope in scopes],
            created_at=now,
            expires_at=None if lifetime_s is None else now + lifetime_s,
            **vars(limits or Limits()),
        )
        with self._database.write() as session:
            session.add(key)
        return NewKey(key, token)

    def local(self) -> Key:
        """The key of this machine, which every database has from its beginning."""
        with self._database.read() as session:
            return session.get_one(Key, LOCAL)

    def find(self, token: str) -> Key | None:
        """The key whose token this is, if it may be used now; None says no more than that.

        What is looked up is the sha256, which nobody can steer, so the time it takes tells nothing about a token.
        """
        if not token.startswith(PREFIX) or len(token) > 200 or not token.isascii():
            return None
        digest = _sha256(token)
        with self._database.read() as session:
            key = session.scalar(select(Key).where(Key.token_sha256 == digest))
        if key is None or not hmac.compare_digest(key.token_sha256 or "", digest):
            return None
        return key if _in_force(key, self._clock()) else None

    def all(self) -> list[Key]:
        """Every key, the oldest first; without their tokens, which nobody has."""
        with self._database.read() as session:
            return list(session.scalars(select(Key).order_by(Key.created_at, Key.id)))

    def revoke(self, key_id: str) -> Key:
        """End a key at once and for good; what it owns is kept. SumiError where there is no such key."""
        if key_id == LOCAL:
            raise SumiError("the key of this machine has no token that could be revoked")
        with self._database.write() as session:
            key = session.get(Key, key_id)
            if key is None:
                raise SumiError(f"there is no key {key_id[:40]!r}: `sumi keys list` shows them")
            key.revoked_at = key.revoked_at or self._clock()
        return key

    def charge(self, key: Key, pixel_steps: int) -> None:
        """Count what is drawn outside of a job against the key's day; OverLimitError where that is used up."""
        if key.pixel_steps_per_day is not None:
            with self._database.write() as session:
                spend(session, locked_key(session, key.id), "pixel_steps_per_day", pixel_steps, self._clock())

    def admit(self, key: Key) -> None:
        """Count one request against the key's allowance; OverLimitError where it is used up."""
        if key.requests_per_minute is not None:  # without a limit nothing is written
            with self._database.write() as session:
                spend(session, locked_key(session, key.id), "requests_per_minute", 1, self._clock())


def locked_key(session: Session, key_id: str) -> Key:
    """Read a key and keep others from spending with it until this transaction ends. A missing one is a KeyError."""
    # Not the strongest lock: jobs and pictures that refer to the key may still be written beside us.
    key = session.scalar(select(Key).where(Key.id == key_id).with_for_update(key_share=True))
    if key is None:
        raise KeyError(key_id)
    return key


def _in_force(key: Key, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
