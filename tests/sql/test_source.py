"""Reading a store from its database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from mlmeta.errors import (
    AuthenticationError,
    ConnectionFailedError,
    IncompatibleStoreError,
    MissingStoreError,
    UnreachableError,
    UsageError,
)
from mlmeta.schema import Experiment, MetricHistory, RegisteredModel, Run, Selection
from mlmeta.stores.sql import reader, sqlite
from mlmeta.stores.sql.database import parse
from mlmeta.stores.sql.exporter import SqlSource
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import ensure_schema
from tests.sql.helpers import ALL, QUIET, assert_proven, backup, digests, lines, records_of

OLD = Path(__file__).parent.parent / "data" / "old_mlflow"


def test_a_missing_database_is_named_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "no" / "such.db"
    with pytest.raises(MissingStoreError, match=str(path)):
        records_of(f"sqlite:///{path}")
    assert not path.parent.exists()


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(IncompatibleStoreError) as error:
        records_of(f"sqlite:///{path}")
    assert error.value.hint
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_another_applications_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    with pytest.raises(IncompatibleStoreError, match="no MLflow store"):
        records_of(f"sqlite:///{tmp_path}/x.db")


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "oracle://u:secret@h/d", "nonsense", "mssql://u:secret@h/d"]
)
def test_other_uris_are_usage_errors_without_credentials(uri: str) -> None:
    with pytest.raises(UsageError) as error:
        SqlSource(uri)
    assert "secret" not in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize("uri", ["postgresql://ann:s3cret@127.0.0.1:1/db", "mysql://ann:s3cret@127.0.0.1:1/db"])
def test_an_unreachable_server_is_named_without_credentials(uri: str) -> None:
    with pytest.raises(UnreachableError) as error:
        records_of(uri)
    assert "127.0.0.1:1" in str(error.value)
    assert "s3cret" not in f"{error.value} {error.value.hint}"


def test_postgresql_errors_have_classes(postgres: Callable[[], str]) -> None:
    url = sa.make_url(postgres())
    with pytest.raises(IncompatibleStoreError, match="no MLflow store"):
        records_of(url.render_as_string(hide_password=False))
    with pytest.raises(MissingStoreError):
        records_of(url.set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises((AuthenticationError, ConnectionFailedError)) as error:
        records_of(url.set(username="stranger", password="s3cret").render_as_string(hide_password=False))
    assert "s3cret" not in str(error.value)


def test_a_table_that_may_not_be_read_is_no_missing_table(postgres: Callable[[], str]) -> None:
    """What some views of PostgreSQL's hide from a user would be left out of the snapshot without a word."""
    uri = postgres()
    ensure_schema(parse(uri))
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        connection.exec_driver_sql("REVOKE SELECT ON logged_models FROM reader")
    as_reader = sa.make_url(uri).set(username="reader").render_as_string(hide_password=False)
    with pytest.raises(AuthenticationError, match="logged_models"):
        records_of(as_reader)


def test_what_is_compiled_for_one_file_serves_the_next(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard reads its store again and again, and each reading is an engine of its own."""
    (tmp_path / "copy.db").write_bytes(store.read_bytes())
    monkeypatch.setattr(sqlite, "_COMPILED", sa.util.LRUCache(500))
    records = records_of(f"sqlite:///{store}")
    compiled = len(sqlite._COMPILED)
    assert compiled > 20
    assert records_of(f"sqlite:///{tmp_path}/copy.db") == records
    assert len(sqlite._COMPILED) == compiled


def test_batches_do_not_show(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = records_of(f"sqlite:///{store}")
    monkeypatch.setattr(reader, "FIRST_BATCH", 1)
    monkeypatch.setattr(reader, "BATCH", 3)
    assert records_of(f"sqlite:///{store}") == records


def test_reading_needs_no_mlflow_and_leaves_no_trace(store: Path) -> None:
    before = store.read_bytes()
    code = (
        "import sys; from mlmeta.stores.sql.exporter import SqlSource; from mlmeta.schema import Selection;"
        "from mlmeta.progress import Silent;"
        f"n = sum(1 for _ in SqlSource('sqlite:///{store}').read(Selection(), Silent()));"
        "assert n > 10; assert not {'mlflow', 'alembic', 'google.cloud'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == ["store.db"]


def test_info_names_schema_and_no_credentials(store: Path) -> None:
    info = SqlSource(f"sqlite:///{store}").info
    assert (info.uri, info.kind, info.point_in_time) == (f"sqlite:///{store}", "sqlite", True)
    assert info.server_version is not None
    assert info.server_version.startswith("schema ")


def test_a_selection_of_experiments(store: Path) -> None:
    records = records_of(f"sqlite:///{store}", Selection(experiments=("Träume/夢 🚀",)))
    assert [r.experiment_id for r in records if isinstance(r, Experiment)] == ["1"]
    assert {r.experiment_id for r in records if isinstance(r, Run)} == {"1"}
    assert [r.name for r in records if isinstance(r, RegisteredModel)] == ["zeta"]
    with pytest.raises(UsageError, match="'no such'"):
        records_of(f"sqlite:///{store}", Selection(experiments=("no such",)))
    only_models = records_of(f"sqlite:///{store}", Selection(only=("models",)))
    assert {type(record) for record in only_models} == {RegisteredModel}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_writes_during_a_read_are_not_seen(store: Path, journal: str) -> None:
    writer = sqlite3.connect(store, timeout=0.1)
    writer.execute(f"PRAGMA journal_mode = {journal}")
    expected = lines(records_of(f"sqlite:///{store}"))
    found = []
    refused = 0
    for record in SqlSource(f"sqlite:///{store}").read(ALL, QUIET):
        found.append(record)
        try:
            with writer:
                writer.execute("UPDATE params SET value = value || 'x'")
                writer.execute("DELETE FROM metrics WHERE step = 0")
                writer.execute("UPDATE registered_models SET description = 'changed'")
        except sqlite3.OperationalError:
            refused += 1
    writer.close()
    assert lines(found) == expected
    assert refused == 0


def test_writes_during_a_read_of_postgresql_are_not_seen(
    filled: Path, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    uri = postgres()
    SqlTarget(uri).restore(backup(f"sqlite:///{filled}", tmp_path / "a"), ALL, QUIET)
    client = MlflowClient(uri, uri)
    expected = lines(records_of(uri))
    found = []
    for number, record in enumerate(SqlSource(uri).read(ALL, QUIET)):
        found.append(record)
        if number < 3:
            run = client.create_run("1", start_time=1)
            client.log_metric(run.info.run_id, "loss", 1.0)
            client.create_registered_model(f"new {number}")
    assert lines(found) == expected
    assert len(records_of(uri)) == len(expected) + 6


def test_a_long_history_comes_in_records_of_bounded_size(store: Path, tmp_path: Path) -> None:
    with sqlite3.connect(store) as connection:
        run_id = connection.execute("SELECT run_uuid FROM runs WHERE start_time = 1000").fetchone()[0]
        connection.execute("INSERT INTO latest_metrics VALUES ('long', 0.5, 1, 60999, 0, ?)", (run_id,))
        rows = (("long", 0.5, 1, run_id, step, 0) for step in range(61_000))
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    records = [r for r in records_of(f"sqlite:///{store}") if isinstance(r, MetricHistory) and r.key == "long"]
    assert [len(record.step) for record in records] == [10_000] * 6 + [1_000]
    assert [step for record in records for step in record.step] == list(range(61_000))
    snapshot = backup(f"sqlite:///{store}", tmp_path / "a")
    target = SqlTarget(f"sqlite:///{tmp_path}/new.db")
    target.restore(snapshot, ALL, QUIET)
    assert_proven(f"sqlite:///{tmp_path}/new.db", snapshot)


@pytest.mark.parametrize("version", ["2.10.0", "2.22.0", "3.1.0"])
def test_stores_of_older_versions_are_read_and_restored_into_the_newest(tmp_path: Path, version: str) -> None:
    old = tmp_path / "old.db"
    with sqlite3.connect(old) as connection:
        connection.executescript((OLD / f"mlflow_{version}.sql").read_text())
    before = old.read_bytes()
    snapshot = backup(f"sqlite:///{old}", tmp_path / "a")
    assert old.read_bytes() == before
    assert snapshot.summary.stats == {"experiments": 2, "runs": 2, "models": 1, "model_versions": 1, "metric_points": 6}
    uri = f"sqlite:///{tmp_path}/new.db"
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
    client = MlflowClient(uri, uri)
    (run,) = client.search_runs(["1"])
    assert (run.info.run_name, run.data.params, run.info.end_time) == ("first", {"lr": "0.1"}, 3_000)
    assert run.inputs.dataset_inputs[0].tags[0].value == "train"
    assert client.get_model_version_by_alias("m", "champion").source == "gs://bucket/m/2"
    with pytest.raises(IncompatibleStoreError, match="older MLflow") as error:
        SqlTarget(f"sqlite:///{old}").restore(snapshot, ALL, QUIET)
    assert "mlflow db upgrade" in error.value.hint
    assert old.read_bytes() == before
