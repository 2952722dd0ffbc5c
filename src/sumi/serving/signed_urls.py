"""Addresses of pictures that open without a key, for an hour.

    <picture>.<format>?expires=T&signature=HMAC-SHA256(secret, "<picture>.<format> T")

An address opens one picture until T, unless the picture is deleted first. The secret belongs to the store, so an
address survives a restart and opens at every server of one database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

__all__ = ["LIFETIME_S", "PREFIX", "SignedUrls"]

LIFETIME_S: Final = 3600
PREFIX: Final = "/v1/files/"
_NAME = re.compile(r"pic_[0-9a-f]{32}\.(?:png|jpeg|webp)")


class SignedUrls:
    """Signs and checks paths. clock: gives seconds since 1970."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._clock = secret, clock

    def sign(self, picture_id: str, suffix: str) -> str:
        """Return a path that opens a picture's file for an hour."""
        name, expires = f"{picture_id}.{suffix}", int(self._clock()) + LIFETIME_S
        return f"{PREFIX}{name}?expires={expires}&signature={self._signature(name, expires)}"

    def opens(self, path: str, query: bytes) -> bool:
        """Return whether a path and its query carry a valid signature that has not expired."""
        name = path.removeprefix(PREFIX)
        if name == path or not _NAME.fullmatch(name) or len(query) > 200:
            return False
        fields = {key: values[-1] for key, values in parse_qs(query.decode("latin-1")).items()}
        expires = fields.get("expires", "")
        if not re.fullmatch(r"\d{1,12}", expires, re.ASCII) or int(expires) < self._clock():
            return False
        signature = fields.get("signature", "").encode()
        return hmac.compare_digest(self._signature(name, int(expires)).encode(), signature)

    def _signature(self, name: str, expires: int) -> str:
        return hmac.new(self._secret, f"{name} {expires}".encode(), hashlib.sha256).hexdigest()
