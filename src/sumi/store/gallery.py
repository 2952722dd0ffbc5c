"""The gallery: every picture that a key's jobs drew, found by words and by meaning."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import delete, select

from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.leftovers import ERASED_AFTER_S, note, referenced
from sumi.store.pagination import Page, page
from sumi.store.schema import Input, Job, Picture
from sumi.store.search_index import cosine_similarity, fold_words

__all__ = ["Gallery"]

_AT_ONCE = 4096
"""Embeddings compared at a time; memory does not grow with the gallery."""


TEXTS: Final = ("prompt", "negative", "before", "after")
"""The fields of a request that a person writes."""


class Gallery:
    """The pictures of a database, each seen by its own key alone. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, files: Files, clock: Callable[[], float] = time.time) -> None:
        self._database, self._files, self._clock = database, files, clock

    def find(self, picture_id: str) -> Picture | None:
        """A picture, whoever's it is: for an address that was signed."""
        with self._database.read() as session:
            return session.scalar(select(Picture).where(Picture.id == picture_id))

    def page(
        self, key_id: str, *, words: str = "", liked: bool = False, limit: int = 20, after: str | None = None
    ) -> Page[Picture]:
        """Pictures whose prompt holds every one of the words, in any order, the newest first.

        liked: only pictures that were liked. A word may be the beginning, middle or end of another. SumiError where
        `after` is none of the key's pictures.
        """
        where = [Picture.words.contains(word, autoescape=True) for word in fold_words(words).split()]
        where += [Picture.liked.is_(True)] if liked else []
        with self._database.read() as session:
            return page(session, Picture, key_id, *where, limit=limit, after=after)

    def nearest(
        self, key_id: str, embedding: Sequence[float], embedded_by: str, limit: int = 20, *, liked: bool = False
    ) -> list[tuple[Picture, float]]:
        """The pictures nearest in meaning and their cosines, the nearest first.

        `embedded_by` names the CLIP that made the embedding; what another one saw is not compared.
        """
        query = select(Picture.number, Picture.embedding).where(
            Picture.key_id == key_id, Picture.embedded_by == embedded_by, Picture.embedding.is_not(None)
        )
        if liked:
            query = query.where(Picture.liked.is_(True))
        best: list[tuple[float, int]] = []
        with self._database.read() as session:
            for rows in session.execute(query.execution_options(yield_per=_AT_ONCE)).partitions():
                numbers, kept = zip(*rows, strict=True)
                cosines = cosine_similarity(embedding, kept).tolist()
                best = heapq.nlargest(limit, [*best, *zip(cosines, numbers, strict=True)])
            rank = {number: cosine for cosine, number in best}
            pictures = session.scalars(select(Picture).where(Picture.number.in_(rank)))
            found = [(picture, rank[picture.number]) for picture in pictures]
        return sorted(found, key=lambda pair: (-pair[1], -pair[0].number))

    def get(self, key_id: str, picture_id: str) -> Picture | None:
        """A picture of this key."""
        with self._database.read() as session:
            return session.scalar(select(Picture).where(Picture.id == picture_id, Picture.key_id == key_id))

    def read(self, picture: Picture) -> bytes:
        """The file of a picture; SumiError where it is missing or damaged."""
        return self._files.read(picture.digest)

    def like(self, key_id: str, picture_id: str, liked: bool = True) -> Picture | None:
        """Note whether a picture of this key is liked, and return it; None where there is no such picture."""
        with self._database.write() as session:
            row = session.scalar(select(Picture).where(Picture.id == picture_id, Picture.key_id == key_id))
            if row is not None:
                row.liked = liked
        return row

    def remove(self, key_id: str, picture_id: str) -> bool:
        """Delete a picture and its file, unless other pictures share it; return whether there was one.

        With the last picture of a job go its texts and the files that it was about. The job stays, as a number of the
        key's history that says nothing.
        """
        with self._database.write() as session:
            mine = (Picture.id == picture_id, Picture.key_id == key_id)
            picture = session.scalar(select(Picture).where(*mine).with_for_update())
            if picture is None:
                return False
            job = session.scalars(select(Job).where(Job.id == picture.job_id).with_for_update()).one()
            gone = {picture.digest}
            job.removed = sorted({*(job.removed or ()), picture.position})
            session.delete(picture)
            session.flush()
            if session.scalar(select(Picture.number).where(Picture.job_id == job.id).limit(1)) is None:
                gone |= set(session.scalars(delete(Input).where(Input.job_id == job.id).returning(Input.digest)))
                job.request = without_texts(job.request)
                if job.idempotency_key is None:
                    job.request_sha256 = ""
            note(session, gone, self._clock(), deleted=True)
        with self._database.read() as session:
            unshared = gone - referenced(session, gone)
        for digest in unshared:
            self._files.remove(digest, older_than_s=ERASED_AFTER_S)  # a younger one goes at the next sweep
        return True


def without_texts(value: Any) -> Any:
    """A request without what a person wrote in it."""
    if isinstance(value, dict):
        return {name: "" if name in TEXTS else without_texts(inner) for name, inner in value.items()}
    return [without_texts(inner) for inner in value] if isinstance(value, list) else value
