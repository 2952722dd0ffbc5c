"""The review queue: texts and pictures that the policy holds back until a person has decided.

    pending -> approved | rejected

What was approved passes from then on for the same key, and what was rejected does not. A text is named by the sha256 of
its characters and a picture by that of its pixels, so the same request, sent again, finds the decision.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from sumi.errors import SumiError
from sumi.store.database import Database
from sumi.store.pagination import Page, page
from sumi.store.schema import REVIEW_STATUSES, Review, check_plain_text

__all__ = ["Reviews"]


class Reviews:
    """The review queue of a database. clock: gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def submit(
        self,
        key_id: str,
        subject: str,
        content_sha256: str,
        reasons: Sequence[Mapping[str, Any]],
        text: str = "",
        picture: bytes | None = None,
    ) -> Review:
        """Return the review of a text or picture, made pending if there is none yet.

        Args:
            key_id: whose it is.
            subject: prompt, input or output.
            content_sha256: names the content.
            reasons: why the policy holds it back, as JSON values.
            text: the prompt.
            picture: a small PNG of the picture.
        """
        check_plain_text(text, "the prompt")
        where = (Review.key_id == key_id, Review.subject == subject, Review.content_sha256 == content_sha256)
        with self._database.write() as session:
            found = session.scalar(select(Review).where(*where))
            if found is None:
                found = Review(
                    id=f"rev_{secrets.token_hex(12)}", key_id=key_id, subject=subject, content_sha256=content_sha256,
                    text=text, picture=picture, reasons=[dict(one) for one in reasons], created_at=self._clock(),
                )  # fmt: skip
                session.add(found)
        return found

    def find(self, key_id: str, subject: str, content_sha256: str) -> Review | None:
        """Return the review of a key's content; None where nobody asked for one."""
        where = (Review.key_id == key_id, Review.subject == subject, Review.content_sha256 == content_sha256)
        with self._database.read() as session:
            return session.scalar(select(Review).where(*where))

    def get(self, review_id: str) -> Review | None:
        """Return a review of any key."""
        with self._database.read() as session:
            return session.scalar(select(Review).where(Review.id == review_id))

    def page(
        self, key_id: str | None, status: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[Review]:
        """Return reviews of a key, or of all keys for None, the newest first; as `Gallery.page`."""
        if status not in (None, *REVIEW_STATUSES):
            raise SumiError(f"a review is {', '.join(REVIEW_STATUSES)}, not {status!r:.40}")
        where = [] if status is None else [Review.status == status]
        with self._database.read() as session:
            return page(session, Review, key_id, *where, limit=limit, after=after)

    def decide(self, review_id: str, approved: bool) -> Review | None:
        """Approve or reject, also against an earlier decision; None where there is no such review."""
        with self._database.write() as session:
            row = session.scalar(select(Review).where(Review.id == review_id))
            if row is not None:
                row.status, row.decided_at = "approved" if approved else "rejected", self._clock()
        return row

    def picture(self, review_id: str) -> bytes | None:
        """Return the picture of a review as a PNG; None where it has none."""
        with self._database.read() as session:
            return session.scalar(select(Review.picture).where(Review.id == review_id))
