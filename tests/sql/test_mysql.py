"""MySQL: through a real MariaDB or MySQL server, where this machine has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from mlmeta.errors import ConflictError, UnreachableError
from mlmeta.schema import Skipped
from mlmeta.stores.sql import database
from mlmeta.stores.sql.restorer import SqlTarget
from tests.sql.helpers import ALL, QUIET, all_runs, assert_round_trip, backup, digests, records_of
from tests.sql.test_default_renamed import snapshot_of_renamed


@pytest.mark.usefixtures("migrations")
def test_sqlite_to_mysql_to_sqlite_gives_equal_bytes(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    assert_round_trip(filled, mysql(), tmp_path)


def test_mlflow_works_on_the_restored_store(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    client = MlflowClient(uri, uri)
    assert {r.info.run_id for r in all_runs(uri)} == {r.info.run_id for r in all_runs(f"sqlite:///{filled}")}
    assert client.create_experiment("next one") == "4"
    client.log_metric(client.create_run("1").info.run_id, "loss", 1.0)
    assert client.create_model_version("zeta", "gs://bucket/m/5", await_creation_for=0).version == 5


def test_a_default_experiment_of_another_id_takes_the_placeholder_s_place(
    tmp_path: Path, mysql: Callable[..., str]
) -> None:
    snapshot = snapshot_of_renamed(tmp_path, purged=True)
    uri = mysql()
    MlflowClient(uri).search_experiments()
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    assert MlflowClient(uri).create_experiment("next") == "2"


def test_a_second_restore_adds_nothing(filled: Path, tmp_path: Path, emptied: Callable[[str], str]) -> None:
    uri = emptied("mysql")
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert not any(SqlTarget(uri).restore(snapshot, ALL, QUIET).created.values())
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_a_conflict_leaves_the_database_as_it_was(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    snapshot = backup(f"sqlite:///{filled}", tmp_path / "a")
    MlflowClient(uri, uri).create_experiment("somebody else's")  # gets id 1, which the snapshot has too
    before = digests(backup(uri, tmp_path / "before"))
    with pytest.raises(ConflictError, match="experiment 1"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "after")) == before


def test_names_that_differ_in_case_only_are_a_conflict_where_the_collation_says_so(
    filled: Path, tmp_path: Path, mysql: Callable[..., str]
) -> None:
    uri = mysql("utf8mb4_general_ci")
    with pytest.raises(ConflictError, match="zeta"):
        SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    assert not MlflowClient(uri, uri).search_registered_models()


def test_tables_that_mysql_hides_are_named(filled: Path, tmp_path: Path, mysql: Callable[..., str]) -> None:
    uri = mysql()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    url = sa.make_url(uri)
    hidden = {"registered_models", "model_versions", "trace_info"}
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE USER somebody@'%%' IDENTIFIED BY ''")
        for name in set(sa.inspect(connection).get_table_names()) - hidden:
            connection.exec_driver_sql(f"GRANT SELECT ON {url.database}.{name} TO somebody@'%%'")
    found = records_of(url.set(username="somebody").render_as_string(hide_password=False))
    assert {item.id for item in found if isinstance(item, Skipped) and item.kind == "table"} == hidden


def test_a_locked_table_is_waited_for_and_named(
    filled: Path, tmp_path: Path, emptied: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = emptied("mysql")
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as holder:
        holder.exec_driver_sql("LOCK TABLES params WRITE")
        with pytest.raises(UnreachableError, match="Lock wait timeout exceeded"):
            records_of(uri)
