"""One database, SQLite or PostgreSQL, in which a commit that returned is on the disk.

    SQLite       WAL, synchronous=FULL; a transaction that writes begins with BEGIN IMMEDIATE, so it never has to wait
                 half way, and sees what every other one wrote
    PostgreSQL   READ COMMITTED, synchronous_commit never off; what must not be raced for is locked by row

It is brought up to date when it is opened. One that a newer Sumi wrote is refused, not guessed at.
"""

from __future__ import annotations

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
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from sumi.errors import SumiError

__all__ = ["Database"]

BUSY_TIMEOUT_S = 30
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATING = 7310886  # PostgreSQL's advisory lock: one process at a time brings the tables up to date
_SQLITE = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA foreign_keys=ON"
_NEVER_OFF = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


class Database:
    """An open database. `read()` and `write()` give a transaction each; what `write()` did is durable once it is left.

    `url` is SQLAlchemy's: sqlite:///PATH or postgresql://USER@HOST/NAME. SumiError where it cannot be opened.
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
        except SQLAlchemyError as error:
            self.close()
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise SumiError(f"the database {self.name} cannot be opened: {reason}") from None

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
        """A transaction that changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed when the block ends, and undone when it raises."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def faults(self) -> list[str]:
        """Say what is wrong with the database itself; empty when nothing is.

        SQLite checks every page, index and reference. PostgreSQL checks its pages as it reads them, where its
        checksums are on; what is asked of both is that no picture belongs to a job that did not succeed, or to another
        key than its job.
        """
        with self.read() as session:
            found = []
            if self.is_sqlite:
                found += [row[0] for row in session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
                broken = session.execute(text("PRAGMA foreign_key_check")).all()
                found += [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in broken]
            astray = session.execute(
                text(
                    "SELECT pictures.id FROM pictures JOIN jobs ON jobs.id = pictures.job_id"
                    " WHERE jobs.status <> 'succeeded' OR jobs.key_id <> pictures.key_id"
                )
            )
            return found + [f"{row[0]} is of a job that did not succeed, or of another key" for row in astray]

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


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
        raise SumiError("a database in memory forgets what it acknowledged: give sqlite:///PATH")
    return parsed


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "begin", _sqlite_begins)
    else:
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
        event.listen(engine, "connect", _postgresql_connected)
    return engine


def _sqlite_connected(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # Python's module leaves BEGIN to us
    for pragma in _SQLITE.split(";"):
        connection.execute(pragma).fetchall()


def _sqlite_begins(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sumi_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_connected(connection: Any, record: Any) -> None:
    connection.execute(_NEVER_OFF)
    connection.commit()


def _migrate(connection: Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    versions = ScriptDirectory.from_config(config)
    newest, here = versions.get_current_head(), MigrationContext.configure(connection).get_current_revision()
    if here is not None and here not in {version.revision for version in versions.walk_revisions()}:
        raise SumiError(
            f"the database {name} was written by a newer Sumi (it is at {here!r}, this one knows up to {newest!r});"
            " update Sumi, or give another database"
        )
    if here != newest:
        command.upgrade(config, "head")
