import sqlite3
import traceback
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import sumi.store.database
from sumi import SumiError
from sumi.store import LOCAL, Database, DatabaseFaultError, NewPicture, Store, UnavailableError, open_store
from sumi.store.schema import Base


def test_migrations_match_the_models(url: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        tables = sqlalchemy.inspect(connection)
        for table in Base.metadata.sorted_tables:  # autogenerate does not compare these
            wanted = {c.name for c in table.constraints if isinstance(c, sqlalchemy.CheckConstraint)}
            assert {c["name"] for c in tables.get_check_constraints(table.name)} == wanted
    database.close()


def test_database_opened_twice_is_unchanged(url: str, tmp_path: Path) -> None:
    with open_store(tmp_path, url) as store:
        key = store.keys.create("somebody").key
    with open_store(tmp_path, url) as store:
        assert [each.id for each in store.keys.all()] == [LOCAL, key.id]


def test_database_of_a_newer_version_is_refused_unchanged(url: str) -> None:
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(SumiError, match=r"newer Sumi \(version '9999'; this Sumi knows versions up to '\d{4}'\)"):
        Database(url)


def test_failed_transaction_is_rolled_back(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.database.write() as session:
        session.execute(text("UPDATE keys SET name = 'changed'"))
        raise ZeroDivisionError
    assert store.keys.local().name == "this machine"


def test_database_refuses_impossible_states(store: Store) -> None:
    job = store.jobs.submit(LOCAL, "generate", {})
    for change in ("status = 'running'", "status = 'succeeded'", "status = 'lost'", "finished_at = 1", "key_id = 'no'"):
        with pytest.raises(DatabaseFaultError, match="refused a statement"), store.database.write() as session:
            session.execute(text(f"UPDATE jobs SET {change} WHERE id = :id"), {"id": job.id})


def test_sqlite_runs_with_full_durability(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, store.database.read() as session:
        said = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2 is FULL


def test_postgresql_runs_with_synchronous_commit(postgresql_server: str) -> None:
    off = "-c synchronous_commit=off"
    database = Database(f"postgresql://postgres@/postgres{postgresql_server}&options={off.replace(' ', '%20')}")
    with database.read() as session:
        assert session.scalar(text("SHOW synchronous_commit")) == "on"
    database.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://somewhere/x", "'mysql' is not supported"),
        ("sqlite://", "in memory"),
        ("nonsense", "address should be"),
        ("postgresql://sumi:secret@localhost:1/x", "cannot be opened"),
    ],
)
def test_invalid_database_url_is_one_line(url: str, told: str) -> None:
    with pytest.raises(SumiError, match=told) as caught:
        Database(url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sumi.db").write_bytes(b"a picture of a fox" * 1000)
    with pytest.raises(SumiError, match=r"is damaged \(file is not a database\): restore a backup") as caught:
        open_store(tmp_path)
    assert "\n" not in str(caught.value) and "sqlalche.me" not in str(caught.value)


def test_damaged_database_is_one_line_in_every_method(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for number in range(200):
            store.jobs.submit(LOCAL, "generate", {"prompt": f"a secret fox {number}"})
    file = tmp_path / "sumi.db"
    data = bytearray(file.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    file.write_bytes(data)
    with pytest.raises(SumiError, match=r"damaged|refused a statement") as caught, open_store(tmp_path) as store:
        store.reconcile()
        store.jobs.page(LOCAL, limit=100)
    assert "\n" not in str(caught.value) and "fox" not in str(caught.value)


def test_database_errors_quote_no_row(store: Store) -> None:
    """PostgreSQL quotes the failing row, and SQLAlchemy the parameters; both would put a prompt into the log."""
    with pytest.raises(DatabaseFaultError) as caught, store.database.write() as session:
        session.execute(
            text(
                "INSERT INTO jobs (id, key_id, kind, request, request_sha256, priority, status, progress, created_at,"
                " attempts) VALUES ('j', 'local', 'generate', :request, '', 0, 'lost', 0, 0, 0)"
            ),
            {"request": "a secret fox"},
        )
    told = "".join(traceback.format_exception(caught.value))
    assert "secret" not in told.replace('{"request": "a secret fox"}', "")


def test_locked_database_raises_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sumi.store.database, "BUSY_TIMEOUT_S", 0.1)
    with open_store(tmp_path) as store:
        other = sqlite3.connect(tmp_path / "sumi.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="locked"):
            store.jobs.submit(LOCAL, "generate", {})
        other.execute("COMMIT")
        other.close()
        assert store.jobs.submit(LOCAL, "generate", {}).status == "queued"


def test_database_of_an_older_version_is_migrated_with_its_rows(url: str, tmp_path: Path) -> None:
    """Version 0003, with a job and its picture, as released before."""
    with open_store(tmp_path, url) as store:
        key = store.keys.create("somebody").key
        job = store.jobs.submit(key.id, "generate", {"prompt": "a fox"})
        worker = store.jobs.worker()
        claim = store.jobs.claim(worker)
        drawn = NewPicture(b"picture", "image/png", 1, 1, "a fox", {"seed": 7})
        assert claim is not None and store.jobs.succeed(claim, [drawn])
        worker.close()
        with store.database.write() as session:
            for column in ("pixel_steps", "failures", "suspicions", "alone", "removed"):
                session.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
            session.execute(text("ALTER TABLE pictures DROP COLUMN fingerprint"))
            session.execute(text("DROP TABLE leftovers"))
            session.execute(text("DROP TABLE reviews"))
            session.execute(text("DELETE FROM secrets WHERE name = 'store'"))
            session.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    (tmp_path / "pictures" / "store-id").unlink()
    with open_store(tmp_path, url) as store:
        assert str(store.reconcile(grace_s=0)) == "nothing to repair" and store.integrity_check() == []
        assert [store.gallery.read(picture) for picture in store.jobs.pictures(key.id, job.id)] == [b"picture"]
        assert store.files.identity() == store.secret("store").hex()


def test_integrity_check_finds_damage(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.integrity_check() == []
    connection = sqlite3.connect(tmp_path / "sumi.db")
    connection.execute("INSERT INTO meters VALUES ('nobody', 'requests_per_minute', 0)")
    connection.commit()
    connection.close()
    with open_store(tmp_path) as store:
        assert store.integrity_check() == ["row 1 of meters refers to a missing row of keys"]
