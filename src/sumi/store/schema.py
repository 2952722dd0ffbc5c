"""The tables: keys, their meters, jobs, their inputs, pictures, and reviews. Every object belongs to a key.

    key 1 --- n meter        how much of an allowance is used
    key 1 --- n job          what was asked for, and its result
    job 1 --- n input        the files that it starts from
    job 1 --- n picture      its pictures, which are also the gallery
    key 1 --- n review       what a person should look at before it is drawn or shown
    secret                   what all servers sign with, and the identity of the store
    leftover                 a file that this database wrote or released, and that a sweep may delete

Times are seconds since 1970 (UTC). Rows are dataclasses; a row that was read is a snapshot and is never written back.
The database itself refuses impossible states: a job runs exactly while a worker holds it, and has an end time exactly
once it is over. A change here needs a migration; a test compares the two.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from sumi.errors import SumiError

__all__ = [
    "FINAL",
    "LOCAL",
    "REVIEW_STATUSES",
    "STATUSES",
    "Base",
    "Document",
    "Job",
    "JobInput",
    "Key",
    "PictureRow",
    "Review",
    "Secret",
    "SweepCandidate",
    "UsageMeter",
    "canonical",
    "check_plain_text",
    "hash_canonical",
]

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED = "queued", "running", "succeeded", "failed", "canceled"
STATUSES: Final = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED)
FINAL: Final = (SUCCEEDED, FAILED, CANCELED)
REVIEW_STATUSES: Final = ("pending", "approved", "rejected")
LOCAL: Final = "local"
"""The key of this machine's own user. It has no token, so no request can name it, and no limits."""

_Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in a column of type INTEGER


def canonical(value: Any) -> str:
    """Return JSON in canonical form: sorted keys, no spaces, ASCII. SumiError for NaN and for what is not JSON."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SumiError(f"this cannot be stored as JSON: {error}") from None


def hash_canonical(value: Any) -> str:
    """Return the sha256 of JSON in canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def check_plain_text(value: str, what: str) -> str:
    """Return a text; SumiError, naming `what`, where no database can hold it (NUL, half a surrogate pair)."""
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise SumiError(f"{what} holds a NUL or half a surrogate pair, which is not text; leave it out")
    return value


class Document(TypeDecorator[Any]):
    """A JSON value, stored as canonical text: the same bytes in every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return text."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the value."""
        return None if value is None else json.loads(value)


class Id(TypeDecorator[str]):
    """The id of a row. It may come from anybody's address bar: text that cannot be an id equals none."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what every database can compare."""
        return value if value is None or (value.isascii() and value.isprintable()) else "?"


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """A row. Two readings of one row are two snapshots, so compare ids."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class Key(Base):
    """An API key. Only the sha256 of its token is stored; the key of this machine has no token."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    hint: Mapped[str] = mapped_column(String(24))  # the token's first characters, to tell keys apart
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True, repr=False)
    scopes: Mapped[list[str]] = mapped_column(Document)
    requests_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    concurrent_jobs: Mapped[int | None] = mapped_column(BigInteger)
    pixel_steps_per_day: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[float | None] = mapped_column(Double, default=None)
    revoked_at: Mapped[float | None] = mapped_column(Double, default=None)
    virtual_time: Mapped[int] = mapped_column("turn", BigInteger, default=0)  # pixel-steps claimed; the least is next


class UsageMeter(Base):
    """How much of one allowance a key has used: the time at which nothing of it will be in use any more."""

    __tablename__ = "meters"

    key_id: Mapped[str] = mapped_column(Id, ForeignKey("keys.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    clear_at: Mapped[float] = mapped_column(Double)


class Job(Base):
    """A job. `attempts` counts claims; with `worker` it identifies the claim that runs.

    failures: how often its process died while it ran alone, or its pictures were lost. suspicions: how often its
    process died while it ran beside others. alone: whether it runs alone now. removed: the positions of its deleted
    pictures, which are not drawn again.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        CheckConstraint("(status = 'running') = (worker IS NOT NULL)", name="worker"),
        CheckConstraint(f"(status IN {FINAL}) = (finished_at IS NOT NULL)", name="finished"),
        UniqueConstraint("key_id", "idempotency_key"),
        Index(None, "status", "priority", "number"),
        Index(None, "key_id", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True, init=False)  # order of arrival
    id: Mapped[str] = mapped_column(Id, unique=True)
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("keys.id"))
    kind: Mapped[str] = mapped_column(String(40))
    request: Mapped[Any] = mapped_column(Document)
    request_sha256: Mapped[str] = mapped_column(String(64), repr=False)
    created_at: Mapped[float] = mapped_column(Double)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), default=None)
    priority: Mapped[int] = mapped_column(Integer, default=0)  # the higher, the sooner
    status: Mapped[str] = mapped_column(String(16), default=QUEUED)
    progress: Mapped[float] = mapped_column(Double, default=0.0)  # in [0, 1]
    error: Mapped[dict[str, Any] | None] = mapped_column(Document, default=None)  # {"code", "message", ...}
    started_at: Mapped[float | None] = mapped_column(Double, default=None)
    finished_at: Mapped[float | None] = mapped_column(Double, default=None)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(String(64), default=None)
    lease_until: Mapped[float | None] = mapped_column(Double, default=None)
    pixel_steps: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    suspicions: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    alone: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    removed: Mapped[list[int] | None] = mapped_column(Document, default=None)
    # The latest step, for followers at other servers. Lists of jobs do not load it.
    live_progress: Mapped[Any] = mapped_column("look", Document, default=None, repr=False, deferred=True, nullable=True)


class JobInput(Base):
    """A file that a job starts from: a picture to vary, a mask. It is kept as long as the job."""

    __tablename__ = "inputs"
    __table_args__ = (Index(None, "digest"),)

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class PictureRow(Base):
    """A picture of a job that succeeded: its file's digest, how to draw it again, and what search finds it by."""

    __tablename__ = "pictures"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index(None, "key_id", "number"),
        Index(None, "digest"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True, init=False)
    id: Mapped[str] = mapped_column(Id, unique=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"))
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("keys.id"))
    position: Mapped[int] = mapped_column(Integer)  # among the pictures of its job, from 0
    digest: Mapped[str] = mapped_column(String(64))
    media_type: Mapped[str] = mapped_column(String(64))
    width_px: Mapped[int] = mapped_column(Integer)
    height_px: Mapped[int] = mapped_column(Integer)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    prompt: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text, repr=False)  # the prompt, folded for search
    recipe: Mapped[Any] = mapped_column(Document, repr=False)
    created_at: Mapped[float] = mapped_column(Double)
    # Float16, of unit length. Only the search reads it; lists of pictures do not load it.
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False, deferred=True)
    embedded_by: Mapped[str | None] = mapped_column(String(64), default=None)  # which CLIP; others do not compare
    liked: Mapped[bool] = mapped_column(Boolean, server_default=false(), default=False)
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False, deferred=True)


class Review(Base):
    """A text or picture that the policy holds back until a person decides.

    subject: prompt, input or output. content_sha256: of the text, or of the picture's pixels. reasons: why it is held.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        CheckConstraint(f"status IN {REVIEW_STATUSES}", name="status"),
        UniqueConstraint("key_id", "subject", "content_sha256"),
        Index(None, "key_id", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True, init=False)
    id: Mapped[str] = mapped_column(Id, unique=True)
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("keys.id"))
    subject: Mapped[str] = mapped_column(String(16))
    content_sha256: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text, repr=False)
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(Document)
    created_at: Mapped[float] = mapped_column(Double)
    picture: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False, deferred=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    decided_at: Mapped[float | None] = mapped_column(Double, default=None)


class SweepCandidate(Base):
    """A file that a sweep may delete once no row refers to it: it was written for a row, or its row was deleted.

    deleted: a person deleted it, so it is deleted and not moved aside.
    """

    __tablename__ = "leftovers"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    noted_at: Mapped[float] = mapped_column(Double)
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)


class Secret(Base):
    """Random bytes that only the servers of this database know."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary, repr=False)
