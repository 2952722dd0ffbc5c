"""A PostgreSQL server of our own: in a folder of its own, on a socket of its own, gone when the tests are."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

ABSENT = "PostgreSQL's server is not installed (the Debian package postgresql), so only SQLite is tested"


def binaries() -> Path | None:
    """The folder of initdb and postgres: Debian keeps it off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    where = str(found[-1]) if found else shutil.which("initdb")
    return Path(where).parent if where else None


@contextmanager
def server() -> Iterator[str]:
    """Run a server; gives the address of its socket, to be put behind postgresql://postgres@/NAME."""
    programs = binaries()
    assert programs is not None, ABSENT
    # Not pytest's folder: the server refuses to run as root, and its user may not look into ours.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        data = folder / "data"

        def run(program: str, *arguments: str) -> None:
            command, locale = (
                [str(programs / program), "-D", str(data), *arguments],
                {"PATH": os.environ["PATH"], "LC_ALL": "C"},
            )
            subprocess.run(command, check=True, capture_output=True, user=user, group=user, cwd=folder, env=locale)

        run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8")
        # These tests kill workers and never the machine under the server, so its own flushing is left out.
        settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=50"
        run("pg_ctl", "-l", str(folder / "log"), "-w", "-o", settings, "start")
        try:
            yield f"?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")


_numbers = itertools.count()


def empty(where: str) -> str:
    """The address of an empty database on a server: a schema of its own is as good as one, and far quicker to have."""
    name = f"test{next(_numbers)}"
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://postgres@/postgres{where}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"postgresql://postgres@/postgres{where}&options=-csearch_path%3D{name}"
