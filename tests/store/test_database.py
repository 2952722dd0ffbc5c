import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from sumi import SumiError
from sumi.store import LOCAL, Database, Store, open_store
from sumi.store.schema import Base


def test_the_migrations_make_what_the_models_say(url: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        tables = sqlalchemy.inspect(connection)
        for table in Base.metadata.sorted_tables:  # autogenerate does not compare these
            wanted = {c.name for c in table.constraints if isinstance(c, sqlalchemy.CheckConstraint)}
            assert {c["name"] for c in tables.get_check_constraints(table.name)} == wanted
    database.close()


def test_a_second_opening_changes_nothing(url: str, tmp_path: Path) -> None:
    with open_store(tmp_path, url) as store:
        key = store.keys.create("somebody").key
    with open_store(tmp_path, url) as store:
        assert [each.id for each in store.keys.all()] == [LOCAL, key.id]


def test_a_database_from_a_newer_sumi_is_refused_and_left_alone(url: str) -> None:
    database = Database(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(SumiError, match=r"written by a newer Sumi \(it is at '9999', this one knows up to '\d{4}'\)"):
        Database(url)


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.database.write() as session:
        session.execute(text("UPDATE keys SET name = 'changed'"))
        raise ZeroDivisionError
    assert store.keys.local().name == "this machine"


def test_impossible_states_are_refused_by_the_database(store: Store) -> None:
    job = store.jobs.submit(LOCAL, "generate", {})
    for change in ("status = 'running'", "status = 'succeeded'", "status = 'lost'", "finished_at = 1", "key_id = 'no'"):
        with pytest.raises(sqlalchemy.exc.IntegrityError), store.database.write() as session:
            session.execute(text(f"UPDATE jobs SET {change} WHERE id = :id"), {"id": job.id})


def test_sqlite_is_told_to_keep_what_it_acknowledges(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, store.database.read() as session:
        said = {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2 is FULL


def test_postgresql_is_not_allowed_to_acknowledge_early(postgresql_server: str) -> None:
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
def test_an_address_that_cannot_be_is_one_line(url: str, told: str) -> None:
    with pytest.raises(SumiError, match=told) as caught:
        Database(url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sumi.db").write_bytes(b"a picture of a fox" * 1000)
    with pytest.raises(SumiError, match="file is not a database"):
        open_store(tmp_path)


def test_a_damaged_database_is_noticed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.integrity_check() == []
    connection = sqlite3.connect(tmp_path / "sumi.db")
    connection.execute("INSERT INTO meters VALUES ('nobody', 'requests_per_minute', 0)")
    connection.commit()
    connection.close()
    with open_store(tmp_path) as store:
        assert store.integrity_check() == ["row 1 of meters refers to a row of keys that is not there"]
