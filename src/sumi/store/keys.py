"""API keys: who may use the server, for what, and how much.

    token = "sk-sumi-" + 192 random bits,    stored: sha256(token)

A token of so many random bits cannot be guessed. A plain hash is therefore enough, and a leaked database reveals no
token. The token is shown once, when the key is made.
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
from sumi.store.schema import LOCAL, Key, check_plain_text

__all__ = ["LOCAL", "SCOPES", "Keys", "NewKey", "lock_key"]

PREFIX: Final = "sk-sumi-"
SCOPES: Final = ("draw", "read", "admin")
"""draw: make, cancel and delete one's own; read: see one's own; admin: see metrics, and the jobs of all keys."""


@dataclass(frozen=True)
class NewKey:
    """A key and its token, which is shown only now."""

    key: Key
    token: str = field(repr=False)


class Keys:
    """The keys of a database. clock: gives seconds since 1970."""

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
        """Make a key.

        Args:
            name: a name for people.
            scopes: some of draw, read and admin.
            lifetime_s: seconds until the key expires; None means never.
            limits: what the key may use; None means no limits.

        Raises:
            SumiError: an unknown scope, no scope, or a lifetime that is not positive.
        """
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise SumiError(f"there is no scope {unknown[0]!r}: the scopes are {', '.join(SCOPES)}")
        if not scopes:
            raise SumiError(f"a key needs a scope: {', '.join(SCOPES)}")
        if lifetime_s is not None and not 0 < lifetime_s < 1e11:
            raise SumiError(f"a key's lifetime must be more than 0 s, not {lifetime_s:g} s")
        now, token = self._clock(), PREFIX + secrets.token_urlsafe(24)
        key = Key(
            id=f"key_{secrets.token_hex(16)}",
            name=check_plain_text(name, "the name of a key"),
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
        """Return the key of this machine, which every database has."""
        with self._database.read() as session:
            return session.get_one(Key, LOCAL)

    def find(self, token: str) -> Key | None:
        """Return the key of a token, or None where it is unknown, revoked or expired.

        The lookup is by sha256, which an attacker cannot steer, so its timing reveals nothing about a token.
        """
        if not token.startswith(PREFIX) or len(token) > 200 or not token.isascii():
            return None
        digest = _sha256(token)
        with self._database.read() as session:
            key = session.scalar(select(Key).where(Key.token_sha256 == digest))
        if key is None or not hmac.compare_digest(key.token_sha256 or "", digest):
            return None
        return key if _is_valid(key, self._clock()) else None

    def all(self) -> list[Key]:
        """Return every key, the oldest first."""
        with self._database.read() as session:
            return list(session.scalars(select(Key).order_by(Key.created_at, Key.id)))

    def revoke(self, key_id: str) -> Key:
        """Revoke a key at once and for good; what it owns stays. SumiError where there is no such key."""
        if key_id == LOCAL:
            raise SumiError("the key of this machine cannot be revoked: it has no token")
        with self._database.write() as session:
            key = session.get(Key, key_id)
            if key is None:
                raise SumiError(f"there is no key {key_id[:40]!r}: `sumi keys list` shows them")
            key.revoked_at = key.revoked_at or self._clock()
        return key

    def charge(self, key: Key, pixel_steps: int) -> None:
        """Charge a key's daily allowance for drawing outside of a job; OverLimitError where it is used up."""
        if key.pixel_steps_per_day is not None:
            with self._database.write() as session:
                spend(session, lock_key(session, key.id), "pixel_steps_per_day", pixel_steps, self._clock())

    def admit(self, key: Key) -> None:
        """Count one request of a key; OverLimitError where its allowance is used up."""
        if key.requests_per_minute is not None:  # write nothing where there is no limit
            with self._database.write() as session:
                spend(session, lock_key(session, key.id), "requests_per_minute", 1, self._clock())


def lock_key(session: Session, key_id: str) -> Key:
    """Return a key, locked until this transaction ends; KeyError where it is missing."""
    # A weaker lock than FOR UPDATE: others may still write jobs and pictures that refer to the key.
    key = session.scalar(select(Key).where(Key.id == key_id).with_for_update(key_share=True))
    if key is None:
        raise KeyError(key_id)
    return key


def _is_valid(key: Key, now: float) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
