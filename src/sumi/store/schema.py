"""What is kept, as tables: keys, their meters, jobs, their inputs and pictures. Every object belongs to a key.

    key 1 --- n meter        how much of an allowance is used
    key 1 --- n job          what was asked, and what became of it
    job 1 --- n input        the files that it is about
    job 1 --- n picture      what came of it, which is also the gallery
    secret                   what all servers sign with, and the identity of the store, made with their tables
    leftover                 a file that this database wrote or let go, and that may be swept away

Times are seconds since 1970 (UTC). Rows are dataclasses; one that was read is a snapshot and is not written back.
States that must not be are refused by the database itself: a job runs if and only if a worker holds it, and has an
end if and only if it is over. A change here needs a migration beside it; a test compares the two.
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
    "STATUSES",
    "Base",
    "Document",
    "Input",
    "Job",
    "Key",
    "Leftover",
    "Picture",
    "Secret",
    "UsageMeter",
    "canonical",
    "canonical_sha256",
    "plain_text",
]

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED = "queued", "running", "succeeded", "failed", "canceled"
STATUSES: Final = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED)
FINAL: Final = (SUCCEEDED, FAILED, CANCELED)
LOCAL: Final = "local"
"""The key of whoever sits at this machine. It has no token, so nothing that is sent can be it, and no limits."""

_Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only in a column called INTEGER


def canonical(value: Any) -> str:
    """Write JSON in its one form: sorted keys, no spaces, ASCII. NaN and what is not JSON is a SumiError."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SumiError(f"this cannot be kept as JSON: {error}") from None


def canonical_sha256(value: Any) -> str:
    """Return the sha256 of JSON in its one form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plain_text(value: str, what: str) -> str:
    """Return the text; SumiError where no database can hold it (NUL, half a surrogate pair)."""
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise SumiError(f"{what} holds a NUL or half a character, which is not text; leave it out")
    return value


class Document(TypeDecorator[Any]):
    """A JSON value, kept as canonical text: the same bytes in every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To text."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """And back."""
        return None if value is None else json.loads(value)


class Id(TypeDecorator[str]):
    """The name of a row. It may come from anybody's address bar: text that cannot be one is equal to none."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To what every database can compare."""
        return value if value is None or (value.isascii() and value.isprintable()) else "?"


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False):
    """A row; two readings of one row are two snapshots, so compare ids."""

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
    """Somebody who may ask. The token itself is not kept, only its sha256; the key of this machine has no token."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    hint: Mapped[str] = mapped_column(String(24))  # how the token begins, to tell keys apart
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True, repr=False)
    scopes: Mapped[list[str]] = mapped_column(Document)
    requests_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    concurrent_jobs: Mapped[int | None] = mapped_column(BigInteger)
    pixel_steps_per_day: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[float | None] = mapped_column(Double, default=None)
    revoked_at: Mapped[float | None] = mapped_column(Double, default=None)
    turn: Mapped[int] = mapped_column(BigInteger, default=0)  # pixel-steps claimed; the least goes first


class UsageMeter(Base):
    """How much of one allowance a key has used: the moment at which nothing of it will be used any more."""

    __tablename__ = "meters"

    key_id: Mapped[str] = mapped_column(Id, ForeignKey("keys.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    clear_at: Mapped[float] = mapped_column(Double)


class Job(Base):
    """Something asked for. `attempts` counts claims; with `worker` it says which claim the running job belongs to.

    failures: how often its process died while it ran alone, or its pictures were lost. suspicions: how often its
    process died while it ran beside others. alone: whether it runs alone now. removed: the positions of its pictures
    that were deleted, which are not drawn again.
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
    # The latest step that its worker told of, for who watches elsewhere. Lists of jobs do not carry it.
    look: Mapped[Any] = mapped_column(Document, default=None, repr=False, deferred=True, nullable=True)


class Input(Base):
    """A file that a job is about: a picture to vary, a mask. It is kept for as long as the job is."""

    __tablename__ = "inputs"
    __table_args__ = (Index(None, "digest"),)

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class Picture(Base):
    """A picture that a succeeded job drew: its file's digest, how to draw it again, and what it is found by."""

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
    words: Mapped[str] = mapped_column(Text, repr=False)  # the prompt without the difference of case
    recipe: Mapped[Any] = mapped_column(Document, repr=False)
    created_at: Mapped[float] = mapped_column(Double)
    # Float16, of unit length. Read by the search alone: lists of pictures do not carry it.
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary, default=None, repr=False, deferred=True)
    embedded_by: Mapped[str | None] = mapped_column(String(64), default=None)  # which CLIP; others do not compare
    liked: Mapped[bool] = mapped_column(Boolean, server_default=false(), default=False)


class Leftover(Base):
    """A file that this database may sweep once no row refers to it: it was written for a row, or its row was deleted.

    deleted: a person deleted it, so that it is erased and not put aside.
    """

    __tablename__ = "leftovers"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    noted_at: Mapped[float] = mapped_column(Double)
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)


class Secret(Base):
    """Random bytes that every server of the database knows, and nobody else."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary, repr=False)
