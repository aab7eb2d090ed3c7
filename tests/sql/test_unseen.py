"""What a database hides from a backup is named, and never looks like a store that has less."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow.store.db import utils

from mlmeta.errors import AuthenticationError, IncompatibleStoreError, UnreachableError
from mlmeta.schema import Skipped
from mlmeta.stores.sql import database, sqlite
from mlmeta.stores.sql.known_tables import REVISIONS, tables_at
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, lines, records_of
from tests.support.cli import Cli

GONE = "it is missing, or the user may not read it"
VIEW = "there is a view in its place"


def execute(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def skipped(uri: str) -> dict[str, str]:
    return {item.id: item.reason for item in records_of(uri) if isinstance(item, Skipped) and item.kind == "table"}


@pytest.fixture(scope="module")
def whole(filled: Path, postgres: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PostgreSQL store. Not to be changed for good."""
    uri = postgres()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path_factory.mktemp("whole")), ALL, QUIET)
    return uri


@pytest.fixture
def reader(whole: str) -> Iterator[str]:
    """The store, as somebody who may read every table."""
    execute(whole, "CREATE ROLE somebody LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO somebody")
    try:
        yield sa.make_url(whole).set(username="somebody").render_as_string(hide_password=False)
    finally:
        execute(whole, "DROP OWNED BY somebody; DROP ROLE somebody")


def test_the_tables_of_each_revision_are_those_that_mlflow_makes(blank: Path) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(db_url=""))
    mlflows = [script.revision for script in scripts.walk_revisions()][::-1]
    ours = [revision for revisions, _ in REVISIONS for revision in revisions.split()]
    assert ours == mlflows[: len(ours)]
    with closing(sqlite3.connect(blank)) as db:
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(tables_at("of a newer MLflow")) <= there
    assert tables_at("451aebb31d03") == []
    assert tables_at("0a8213491aaa") == ["experiment_tags", "latest_metrics", "registered_models", "model_versions"]


def test_rows_hidden_by_a_policy_are_an_error(whole: str, reader: str) -> None:
    execute(whole, "ALTER TABLE runs ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON runs USING (start_time > 10)")
    try:
        with pytest.raises(AuthenticationError, match='row-level security policy for table "runs"') as error:
            records_of(reader)
        assert "BYPASSRLS" in error.value.hint
    finally:
        execute(whole, "DROP POLICY part ON runs; ALTER TABLE runs DISABLE ROW LEVEL SECURITY")
    assert lines(records_of(reader)) == lines(records_of(whole))


def test_a_policy_is_seen_where_the_server_gives_no_moment(whole: str, reader: str) -> None:
    """A refused `pg_export_snapshot` ends the transaction that the settings were made in."""
    execute(whole, "REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM public")
    execute(whole, "ALTER TABLE params ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON params USING (false)")
    try:
        with pytest.raises(AuthenticationError, match='row-level security policy for table "params"'):
            records_of(reader)
    finally:
        execute(whole, "GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO public")
        execute(whole, "DROP POLICY part ON params; ALTER TABLE params DISABLE ROW LEVEL SECURITY")


def test_a_view_in_place_of_a_table_of_postgresql_is_named(whole: str) -> None:
    execute(
        whole,
        "ALTER TABLE registered_models RENAME TO hidden",
        "CREATE VIEW registered_models AS SELECT * FROM hidden WHERE false",
    )
    try:
        found = skipped(whole)
    finally:
        execute(whole, "DROP VIEW registered_models", "ALTER TABLE hidden RENAME TO registered_models")
    assert found.keys() == {"registered_models"}
    assert VIEW in found["registered_models"]


def test_a_locked_table_of_postgresql_is_waited_for_and_named(whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    with sa.create_engine(whole, poolclass=sa.NullPool).connect() as holder:
        holder.exec_driver_sql("LOCK TABLE params IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnreachableError, match="lock timeout") as error:
            records_of(whole)
    assert error.value.hint.startswith("somebody has held a lock on it for ")


def test_a_view_in_place_of_a_table_of_sqlite_is_named(store: Path, tmp_path: Path, cli: Cli) -> None:
    execute(
        f"sqlite:///{store}",
        "ALTER TABLE registered_models RENAME TO hidden",
        "CREATE VIEW registered_models AS SELECT * FROM hidden WHERE 0",
    )
    done = cli("backup", "--tracking-uri", f"sqlite:///{store}", "--json").ended(3)
    named = [issue["message"].split(",")[0] for issue in done.document["errors"]]
    assert f"table registered_models: {VIEW}" in named  # and what hangs on it: the other table, its versions


def test_a_table_that_is_gone_is_named(store: Path) -> None:
    execute(f"sqlite:///{store}", "DROP TABLE registered_model_aliases", "DROP TABLE trace_info")
    found = skipped(f"sqlite:///{store}")
    assert found.keys() == {"registered_model_aliases", "trace_info"}
    assert all(GONE in reason for reason in found.values())


def test_a_view_in_place_of_the_runs_is_no_store(store: Path) -> None:
    execute(f"sqlite:///{store}", "ALTER TABLE runs RENAME TO hidden", "CREATE VIEW runs AS SELECT * FROM hidden")
    with pytest.raises(IncompatibleStoreError, match="no table runs"):
        records_of(f"sqlite:///{store}")


def test_a_locked_file_is_waited_for_and_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    with closing(sqlite3.connect(store, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnreachableError, match="database is locked") as error:
            records_of(f"sqlite:///{store}")
    assert error.value.hint.startswith("somebody has held a lock on it for ")
