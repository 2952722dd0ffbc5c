"""The gallery: every picture that a key's jobs drew, found by words and by meaning."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from sqlalchemy import delete, select

from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.meaning import folded, nearness
from sumi.store.page import Page, page
from sumi.store.schema import Picture

__all__ = ["Gallery"]

_AT_ONCE = 4096
"""Embeddings compared at a time; memory does not grow with the gallery."""


class Gallery:
    """The pictures of a database, each seen by its own key alone."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database, self._files = database, files

    def page(
        self, key_id: str, *, words: str = "", liked: bool = False, limit: int = 20, after: str | None = None
    ) -> Page[Picture]:
        """Pictures whose prompt holds every one of the words, in any order, the newest first.

        liked: only pictures that were liked. A word may be the beginning, middle or end of another. SumiError where
        `after` is none of the key's pictures.
        """
        where = [Picture.words.contains(word, autoescape=True) for word in folded(words).split()]
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
                cosines = nearness(embedding, kept).tolist()
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
        """Forget a picture; whether there was one. Its file goes at the next reconciliation, unless others share it."""
        with self._database.write() as session:
            mine = delete(Picture).where(Picture.id == picture_id, Picture.key_id == key_id)
            removed = session.scalars(mine.returning(Picture.id)).all()
        return bool(removed)
