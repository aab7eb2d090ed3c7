"""Tables that no record models are saved as rows, also those of a newer MLflow, or named."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlmeta.errors import UsageError
from mlmeta.progress import Silent
from mlmeta.schema import Row, Selection, Skipped
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.known_tables import NEVER
from mlmeta.stores.sql.tables import COLUMNS
from tests.support.databases import Databases


@pytest.fixture
def store(databases: Databases, tmp_path: Path) -> Path:
    databases.copy("filled", tmp_path / "store.db")
    return tmp_path / "store.db"


def change(store: Path, *statements: str) -> None:
    with closing(sqlite3.connect(store)) as db, db:
        for statement in statements:
            db.execute(statement)


def skipped(store: Path, *experiments: str) -> dict[str, str]:
    return _skipped(f"sqlite:///{store}", *experiments)


def _skipped(uri: str, *experiments: str) -> dict[str, str]:
    items = SqlSource(uri).read(Selection(experiments), Silent())
    return {item.kind: item.reason for item in items if isinstance(item, Skipped)}


def rows(items: Iterable[object]) -> dict[str, int]:
    """The rows that a snapshot has, by table."""
    return dict(Counter(item.table for item in items if isinstance(item, Row)))


def tables(store: Path) -> set[str]:
    with closing(sqlite3.connect(store)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_any_table_with_rows_is_saved_or_named_with_its_count(store: Path) -> None:
    """Whatever table gets a row, it is saved or somebody hears of it; caches and locks are not worth a word."""
    for table in sorted(tables(store) - set(COLUMNS) - {"alembic_version", "workspaces"}):
        with closing(sqlite3.connect(store)) as db:
            db.execute("PRAGMA ignore_check_constraints = on")
            columns = list(db.execute(f"PRAGMA table_info({table})"))
            values = ", ".join("1" if row[3] or row[5] else "NULL" for row in columns)
            db.execute(f"INSERT INTO {table} VALUES ({values})")
            db.commit()
        items = list(SqlSource(f"sqlite:///{store}").read(Selection(), Silent()))
        named = [item.reason.split(",")[0] for item in items if isinstance(item, Skipped)]
        is_saved = rows(items) == {table: 1}
        assert named == ([] if table in NEVER or is_saved else ["the store has 1"]), table
        change(store, f"DELETE FROM {table}")


def test_a_file_has_no_tables_but_mlflows(store: Path) -> None:
    change(
        store,
        "CREATE TABLE new_things (id INTEGER PRIMARY KEY, run_uuid VARCHAR REFERENCES runs (run_uuid))",
        "CREATE TABLE new_parts (id INTEGER PRIMARY KEY, thing INTEGER REFERENCES new_things (id))",
        "CREATE TABLE new_kinds (name VARCHAR, workspace VARCHAR)",
        "CREATE TABLE other_app (id INTEGER PRIMARY KEY)",
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "INSERT INTO new_things VALUES (1, 'r'), (2, 'r')",
        "INSERT INTO new_parts VALUES (1, 1)",
        "INSERT INTO new_kinds VALUES ('a', 'default')",
        "INSERT INTO other_app VALUES (1)",
        "INSERT INTO users VALUES (1)",
    )
    source = SqlSource(f"sqlite:///{store}")
    assert rows(source.read(Selection(), Silent())) == {"new_kinds": 1, "new_parts": 1, "new_things": 2, "other_app": 1}
    (note,) = (note for note in source.warnings() if "MLflow's" in note)
    assert "not saved: 1 table of the database (users); --table NAME saves one" in note


def test_basic_auth_in_the_same_database(store: Path) -> None:
    change(
        store,
        "CREATE TABLE alembic_version_auth (version_num VARCHAR)",
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE roles (id INTEGER PRIMARY KEY, workspace VARCHAR)",
        "INSERT INTO users VALUES (1), (2)",
        "INSERT INTO roles VALUES (1, 'default')",
    )
    source = SqlSource(f"sqlite:///{store}")
    assert rows(source.read(Selection(), Silent())) == {}
    assert [note for note in source.warnings() if "--auth-uri same saves them" in note]
    assert skipped(store) == {}


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_on_a_database_server_tables_of_others_are_told_apart(kind: str, emptied: Callable[[str], str]) -> None:
    uri = emptied(kind)
    made = ("new_kinds", "new_parts", "other_app")
    statements = (
        "CREATE TABLE new_kinds (name VARCHAR(9) PRIMARY KEY, workspace VARCHAR(9))",
        "CREATE TABLE new_parts (name VARCHAR(9) PRIMARY KEY, FOREIGN KEY (name) REFERENCES new_kinds (name))",
        "CREATE TABLE other_app (id INTEGER PRIMARY KEY)",
        "INSERT INTO new_kinds VALUES ('a', 'default')",
        "INSERT INTO new_parts VALUES ('a')",
        "INSERT INTO other_app VALUES (1)",
    )
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    try:
        source = SqlSource(uri)
        assert rows(source.read(Selection(), Silent())) == {"new_kinds": 1, "new_parts": 1}
        assert any("not saved: 1 table of the database (other_app)" in note for note in source.warnings())
        assert rows(source.read(Selection(tables="other_app"), Silent())) == dict.fromkeys(made, 1)
        assert not any("other_app" in note for note in source.warnings())
        with pytest.raises(UsageError, match="no table 'another'"):
            list(source.read(Selection(tables="another"), Silent()))
        with pytest.raises(UsageError, match="the server's list of work"):
            list(source.read(Selection(tables="jobs"), Silent()))
    finally:
        with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
            for name in reversed(made):
                connection.execute(sa.text(f"DROP TABLE {name}"))


def test_a_table_that_this_user_may_not_read_is_named(emptied: Callable[[str], str]) -> None:
    uri = emptied("postgresql")
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in (
            "CREATE ROLE reader LOGIN",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
            "REVOKE SELECT ON secrets FROM reader",
        ):
            connection.execute(sa.text(statement))
    try:
        url = sa.make_url(uri).set(username="reader", password=None)
        reason = "this user may not read the table secrets, which may have some"
        assert _skipped(url.render_as_string(hide_password=False)) == {"secrets": reason}
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("DROP OWNED BY reader"))
            connection.execute(sa.text("DROP ROLE reader"))
