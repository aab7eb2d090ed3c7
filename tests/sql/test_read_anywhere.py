"""Stores in unusual places: another schema of PostgreSQL, MySQL tables of two collations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

import mlmeta
from mlmeta.errors import ExitCode
from mlmeta.schema import RegisteredModel, Selection
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, backup, lines, records_of


def execute(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_store_in_the_second_schema_of_search_path(filled: Path, tmp_path: Path, postgres: Callable[[], str]) -> None:
    uri = postgres()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    expected = lines(records_of(uri))
    assert SqlSource(uri).info.schema == ""
    execute(uri, "ALTER SCHEMA public RENAME TO team", "CREATE SCHEMA front", "CREATE TABLE front.other (id int)")
    with_path = sa.make_url(uri).update_query_dict({"options": "-csearch_path=front,team"})
    found = with_path.render_as_string(hide_password=False)
    assert lines(records_of(found)) == expected
    assert SqlSource(found).info.schema == "team"
    execute(uri, 'ALTER ROLE CURRENT_USER SET search_path = "front", "team"')
    try:  # nothing in the address says so now
        assert lines(records_of(uri)) == expected
        assert SqlSource(uri).info.schema == "team"
    finally:
        execute(uri, "ALTER ROLE CURRENT_USER RESET search_path")


def test_mysql_tables_of_two_collations(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    """MySQL refuses to compare such columns: "Illegal mix of collations"."""
    uri = mysql()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    expected = lines(records_of(uri))
    execute(
        uri,
        "ALTER TABLE inputs CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "ALTER TABLE input_tags CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "ALTER TABLE model_versions MODIFY run_id VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    )
    assert lines(records_of(uri)) == expected
    some = records_of(uri, Selection(experiments=("Träume/夢 🚀",)))
    assert [record.name for record in some if isinstance(record, RegisteredModel)] == ["zeta"]
    saved = mlmeta.backup(uri, [str(tmp_path / "b")], with_drill=True)
    assert (saved.exit_code, saved.skipped, saved.warnings) == (ExitCode.DONE, (), ())
