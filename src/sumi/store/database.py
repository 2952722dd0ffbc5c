"""The database, SQLite or PostgreSQL. A commit that returned is on the disk.

    SQLite       WAL, synchronous=FULL; a transaction that writes begins with BEGIN IMMEDIATE, so it never waits half
                 way and sees what every other one wrote
    PostgreSQL   READ COMMITTED, synchronous_commit never off; rows that writers compete for are locked

Opening a database migrates it. One that a newer Sumi wrote is refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from sumi.errors import SumiError

__all__ = ["Database", "DatabaseFaultError", "UnavailableError"]

BUSY_TIMEOUT_S = 10
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7310886  # PostgreSQL's advisory lock: one process at a time brings the tables up to date
_SQLITE = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA foreign_keys=ON"
_DURABLE_COMMITS = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class DatabaseFaultError(SumiError):
    """The database is damaged, or refused a statement. The message quotes no value of a row or request."""


class UnavailableError(SumiError):
    """The database is locked, full or away; the same transaction may succeed later."""


class Database:
    """An open database. `read()` and `write()` give a transaction; what `write()` did is durable once its block ends.

    url: SQLAlchemy's, sqlite:///PATH or postgresql://USER@HOST/NAME. SumiError where it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.engine = _engine(self.url)
        self._writing = self.engine.execution_options(sumi_writes=True)
        try:
            with self._writing.begin() as connection:
                _migrate(connection, self.name)
        except SumiError:
            self.close()
            raise
        except (SQLAlchemyError, sqlite3.Error) as error:
            self.close()
            if _is_damage(error):
                raise self._fault(error) from None
            raise SumiError(f"the database {self.name} cannot be opened: {_reason(error)}") from None

    @property
    def name(self) -> str:
        """The address, without a password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a transaction that changes nothing; UnavailableError or DatabaseFaultError where the database fails."""
        with self._explained(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a transaction that commits when the block ends and rolls back when it raises; errors as of `read`."""
        with self._explained(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Replace the database's errors with one line of our own: theirs may quote a row, and so a prompt."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> SumiError:
        if _is_damage(error):
            return DatabaseFaultError(
                f"the database {self.name} is damaged ({_reason(error)}): restore a backup, or move it aside and"
                " rebuild it from the pictures with `sumi store restore`"
            )
        if isinstance(error, OperationalError | sqlite3.OperationalError):
            return UnavailableError(f"the database {self.name} is locked, full or away ({_reason(error)})")
        kind = type(_cause(error)).__name__
        return DatabaseFaultError(f"the database {self.name} refused a statement ({kind})")

    def faults(self) -> list[str]:
        """Return what is wrong with the database itself, a line each.

        SQLite checks every page, index and reference. PostgreSQL checks pages as it reads them, if checksums are on. In
        both, every picture must belong to a job that succeeded, and to the same key as its job.
        """
        with self.read() as session:
            found = []
            if self.is_sqlite:
                found += [row[0] for row in session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
                broken = session.execute(text("PRAGMA foreign_key_check")).all()
                found += [f"row {row[1]} of {row[0]} refers to a missing row of {row[2]}" for row in broken]
            misplaced = session.execute(
                text(
                    "SELECT pictures.id FROM pictures JOIN jobs ON jobs.id = pictures.job_id"
                    " WHERE jobs.status <> 'succeeded' OR jobs.key_id <> pictures.key_id"
                )
            )
            return found + [
                f"{row[0]} belongs to a job that did not succeed, or to another key than its job" for row in misplaced
            ]

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _cause(error: Exception) -> BaseException:
    """Return the driver's own error."""
    return (error.orig if isinstance(error, DBAPIError) else None) or error


def _is_damage(error: Exception) -> bool:
    return getattr(_cause(error), "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _reason(error: Exception) -> str:
    """Return the driver's message in one line, without the values of a statement."""
    return " ".join(str(_cause(error)).split())[:200]


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SumiError("the database's address should be sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise SumiError(f"a database of the kind {parsed.drivername!r} is not supported: use sqlite or postgresql")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SumiError("a database in memory loses everything: give sqlite:///PATH")
    return parsed


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = sqlalchemy.create_engine(
            url, pool_pre_ping=True, isolation_level="READ COMMITTED", hide_parameters=True
        )
        event.listen(engine, "connect", _configure_postgresql)
    return engine


def _configure_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # we send BEGIN ourselves
    for pragma in _SQLITE.split(";"):
        connection.execute(pragma).fetchall()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sumi_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _configure_postgresql(connection: Any, record: Any) -> None:
    connection.execute(_DURABLE_COMMITS)
    connection.commit()


def _migrate(connection: Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    versions = ScriptDirectory.from_config(config)
    newest, here = versions.get_current_head(), MigrationContext.configure(connection).get_current_revision()
    if here is not None and here not in {version.revision for version in versions.walk_revisions()}:
        raise SumiError(
            f"the database {name} was written by a newer Sumi (version {here!r}; this Sumi knows versions up to"
            f" {newest!r}): update Sumi, or give another database"
        )
    if here != newest:
        command.upgrade(config, "head")
