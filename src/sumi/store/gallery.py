"""The gallery: all pictures that a key's jobs drew, found by words and by meaning."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import delete, select

from sumi.store.database import Database
from sumi.store.files import Files
from sumi.store.pagination import Page, page
from sumi.store.schema import Job, JobInput, PictureRow
from sumi.store.search_index import cosine_similarity, fold_words, hamming_distance
from sumi.store.sweep import ERASE_AFTER_S, find_referenced, note_files

__all__ = ["Gallery"]

_BATCH_SIZE = 4096
"""Embeddings compared at a time, so that memory does not grow with the gallery."""
TEXT_FIELDS: Final = ("prompt", "negative", "before", "after")
"""Fields of a request that a person writes."""


class Gallery:
    """The pictures of a database, each visible to its own key alone. clock: gives seconds since 1970."""

    def __init__(self, database: Database, files: Files, clock: Callable[[], float] = time.time) -> None:
        self._database, self._files, self._clock = database, files, clock

    def find(self, picture_id: str) -> PictureRow | None:
        """Return a picture of any key, for a signed address."""
        with self._database.read() as session:
            return session.scalar(select(PictureRow).where(PictureRow.id == picture_id))

    def page(
        self, key_id: str, *, words: str = "", liked: bool = False, limit: int = 20, after: str | None = None
    ) -> Page[PictureRow]:
        """Return pictures whose prompt contains every word, in any order, the newest first.

        Args:
            key_id: whose pictures.
            words: text to search for; a word also matches inside another.
            liked: only pictures with a like.
            limit: size of the page, 1 to 100.
            after: id of the last picture of the page before.

        Raises:
            SumiError: the key has no picture `after`.
        """
        where = [PictureRow.words.contains(word, autoescape=True) for word in fold_words(words).split()]
        where += [PictureRow.liked.is_(True)] if liked else []
        with self._database.read() as session:
            return page(session, PictureRow, key_id, *where, limit=limit, after=after)

    def find_nearest(
        self, key_id: str, embedding: Sequence[float], embedded_by: str, limit: int = 20, *, liked: bool = False
    ) -> list[tuple[PictureRow, float]]:
        """Return the pictures nearest to an embedding, with their cosines, the nearest first.

        Args:
            key_id: whose pictures.
            embedding: a CLIP embedding.
            embedded_by: which CLIP made it; embeddings of other CLIPs are not compared.
            limit: how many pictures.
            liked: only pictures with a like.
        """
        query = select(PictureRow.number, PictureRow.embedding).where(
            PictureRow.key_id == key_id, PictureRow.embedded_by == embedded_by, PictureRow.embedding.is_not(None)
        )
        if liked:
            query = query.where(PictureRow.liked.is_(True))
        best: list[tuple[float, int]] = []
        with self._database.read() as session:
            for rows in session.execute(query.execution_options(yield_per=_BATCH_SIZE)).partitions():
                numbers, packed = zip(*rows, strict=True)
                cosines = cosine_similarity(embedding, packed).tolist()
                best = heapq.nlargest(limit, [*best, *zip(cosines, numbers, strict=True)])
            rank = {number: cosine for cosine, number in best}
            pictures = session.scalars(select(PictureRow).where(PictureRow.number.in_(rank)))
            found = [(picture, rank[picture.number]) for picture in pictures]
        return sorted(found, key=lambda pair: (-pair[1], -pair[0].number))

    def find_similar(self, key_id: str | None, fingerprint: bytes, limit: int = 5) -> list[tuple[PictureRow, int]]:
        """Return the pictures whose fingerprints differ least, with the number of bits that differ, the nearest first.

        Args:
            key_id: whose pictures; None means everybody's.
            fingerprint: a perceptual hash.
            limit: how many pictures.
        """
        query = select(PictureRow.number, PictureRow.fingerprint).where(PictureRow.fingerprint.is_not(None))
        if key_id is not None:
            query = query.where(PictureRow.key_id == key_id)
        best: list[tuple[int, int]] = []
        with self._database.read() as session:
            for rows in session.execute(query.execution_options(yield_per=_BATCH_SIZE)).partitions():
                numbers, stored = zip(*rows, strict=True)
                bits = hamming_distance(fingerprint, stored).tolist()
                best = heapq.nsmallest(limit, [*best, *zip(bits, numbers, strict=True)])
            apart = {number: bits for bits, number in best}
            pictures = session.scalars(select(PictureRow).where(PictureRow.number.in_(apart)))
            found = [(picture, apart[picture.number]) for picture in pictures]
        return sorted(found, key=lambda pair: (pair[1], -pair[0].number))

    def find_file(self, key_id: str | None, digest: str) -> PictureRow | None:
        """Return the picture of this very file. key_id: whose; None means anybody's. digest: sha256 of the file."""
        query = select(PictureRow).where(PictureRow.digest == digest)
        if key_id is not None:
            query = query.where(PictureRow.key_id == key_id)
        with self._database.read() as session:
            return session.scalar(query.limit(1))

    def get(self, key_id: str, picture_id: str) -> PictureRow | None:
        """Return a picture of a key."""
        with self._database.read() as session:
            return session.scalar(select(PictureRow).where(PictureRow.id == picture_id, PictureRow.key_id == key_id))

    def read(self, picture: PictureRow) -> bytes:
        """Return the bytes of a picture's file; LostFileError where it is missing or damaged."""
        return self._files.read(picture.digest)

    def like(self, key_id: str, picture_id: str, liked: bool = True) -> PictureRow | None:
        """Set or remove the like of a key's picture, and return it; None where there is no such picture."""
        with self._database.write() as session:
            row = session.scalar(select(PictureRow).where(PictureRow.id == picture_id, PictureRow.key_id == key_id))
            if row is not None:
                row.liked = liked
        return row

    def remove(self, key_id: str, picture_id: str) -> bool:
        """Delete a picture, and its file unless others share it; return whether there was such a picture.

        With the last picture of a job go the job's texts and the files that it started from. The job itself stays in
        its
        key's history, without content.
        """
        with self._database.write() as session:
            mine = (PictureRow.id == picture_id, PictureRow.key_id == key_id)
            picture = session.scalar(select(PictureRow).where(*mine).with_for_update())
            if picture is None:
                return False
            job = session.scalars(select(Job).where(Job.id == picture.job_id).with_for_update()).one()
            gone = {picture.digest}
            job.removed = sorted({*(job.removed or ()), picture.position})
            session.delete(picture)
            session.flush()
            if session.scalar(select(PictureRow.number).where(PictureRow.job_id == job.id).limit(1)) is None:
                gone |= set(
                    session.scalars(delete(JobInput).where(JobInput.job_id == job.id).returning(JobInput.digest))
                )
                job.request = without_texts(job.request)
                if job.idempotency_key is None:
                    job.request_sha256 = ""
            note_files(session, gone, self._clock(), deleted=True)
        with self._database.read() as session:
            unshared = gone - find_referenced(session, gone)
        for digest in unshared:
            self._files.remove(digest, older_than_s=ERASE_AFTER_S)  # the next sweep deletes a younger one
        return True


def without_texts(value: Any) -> Any:
    """Return a request without what a person wrote in it."""
    if isinstance(value, dict):
        return {name: "" if name in TEXT_FIELDS else without_texts(inner) for name, inner in value.items()}
    return [without_texts(inner) for inner in value] if isinstance(value, list) else value
