"""Rows of tables that no record models: from any kind of database into any other, and what stands in their way."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import mlmeta
from mlmeta import restore
from mlmeta.commands.browse import browse
from mlmeta.errors import ConflictError, ExitCode
from mlmeta.schema import ROWS, Row, Selection
from mlmeta.schema.rows import ORDER
from mlmeta.snapshot.reader import Snapshot
from mlmeta.stores.sql.schema import create_schema
from tests.builders.everything import SECRET, STOPS_A_SERVER, fill_everything, mlflows_tables
from tests.sql.helpers import digests
from tests.support.cli import Cli
from tests.support.server import server as server_of


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with rows in every table. Not to be changed."""
    path = tmp_path_factory.mktemp("full") / "mlflow.db"
    fill_everything(f"sqlite:///{path}", workspaces=True)
    return path


@pytest.fixture(scope="module")
def backups(full: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a snapshot of it. Not to be written to."""
    folder = str(tmp_path_factory.mktemp("backups"))
    mlmeta.backup(f"sqlite:///{full}", folder)
    return folder


def saved(uri: str, folder: Path) -> Snapshot:
    mlmeta.backup(uri, str(folder))
    return mlmeta.open_snapshot(str(folder), "latest")


def rows(snapshot: Snapshot) -> list[Row]:
    return list(snapshot.records(ROWS))


def without_its_secret(row: Row) -> Row:
    """As a restore leaves it: that a webhook had a secret is seen no more."""
    return row.model_copy(update={"row": {**row.row, "secret": None}}) if row.table == "webhooks" else row


def change(uri: str, *statements: str) -> None:
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def is_default(row: Row) -> bool:
    return row.table == "workspaces" and row.key["name"] == "default"


@pytest.fixture
def target(tmp_path: Path) -> str:
    """A SQLite store after a restore."""
    return f"sqlite:///{tmp_path}/target.db"


def test_every_known_table_is_in_the_snapshot_in_order(full: Path, backups: str) -> None:
    snapshot = mlmeta.open_snapshot(backups, "latest")
    tables = list(snapshot.summary.tables)
    with closing(sqlite3.connect(full)) as db:
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == [name for name in ORDER if name in there]
    assert snapshot.summary.stats["rows"] == sum(snapshot.summary.tables.values())
    assert not STOPS_A_SERVER.intersection(tables)
    columns = {table.name: {column.name for column in table.columns} for table in mlflows_tables()}
    assert all({*row.values} == columns[row.table] for row in rows(snapshot))


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_equal_stores_give_equal_bytes(kind: str, backups: str, tmp_path: Path, request: Any) -> None:
    uri = request.getfixturevalue(kind)()
    fill_everything(uri, workspaces=True)
    found = saved(uri, tmp_path / "b")
    assert rows(found) == rows(mlmeta.open_snapshot(backups, "latest"))
    assert digests(found) == digests(mlmeta.open_snapshot(backups, "latest"))


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_they_come_back_in_every_database(kind: str, backups: str, tmp_path: Path, request: Any, target: str) -> None:
    uri = target if kind == "sqlite" else request.getfixturevalue(kind)()
    done = restore(uri, "latest", backups)
    assert done.comparison is not None
    assert done.comparison.is_equal, done.comparison.differences
    first = mlmeta.open_snapshot(backups, "latest")
    again = saved(uri, tmp_path / "again")
    assert rows(again) == [without_its_secret(row) for row in rows(first)]
    assert digests(again) | {"rows": ""} == digests(first) | {"rows": ""}
    repeated = restore(uri, "latest", str(tmp_path / "again"))
    assert (repeated.created, repeated.present["rows"], repeated.exit_code) == ({}, len(rows(again)), ExitCode.DONE)


def test_no_secret_leaves_the_store(full: Path, backups: str, tmp_path: Path, cli: Cli) -> None:
    done = cli("backup", "--tracking-uri", f"sqlite:///{full}", "--storage", str(tmp_path / "b"), "--json")
    assert SECRET not in done.out + done.err
    for path in [*Path(backups).iterdir(), *(tmp_path / "b").iterdir()]:
        assert SECRET.encode() not in path.read_bytes()
    with closing(sqlite3.connect(full)) as db:
        assert SECRET in "".join(db.iterdump())


def test_an_overview_names_the_tables(backups: str, cli: Cli) -> None:
    shown = " ".join(cli("show", "latest", "--storage", backups).ended(0).out.split())
    assert "rows of workspaces (1), secrets (2), model_definitions (2), endpoints (2)," in shown


def test_secrets_come_back_empty_and_are_named(backups: str, target: str) -> None:
    done = restore(target, "latest", backups)
    asked = [warning for warning in done.warnings if "to be entered again" in warning]
    assert [("secret_name 0" in one, "name 1 (" in one) for one in asked] == [(True, True), (False, True)]
    with closing(sqlite3.connect(target.removeprefix("sqlite:///"))) as db:
        assert set(db.execute("SELECT encrypted_value, wrapped_dek, masked_value FROM secrets")) == {(b"", b"", "")}
        assert set(db.execute("SELECT secret FROM webhooks")) == {(None,)}


def test_what_the_target_has_with_other_content_is_a_conflict(backups: str, target: str) -> None:
    restore(target, "latest", backups)
    change(target, "UPDATE webhooks SET status = 'ACTIVE'", "DELETE FROM issues")
    with pytest.raises(ConflictError, match=r"row webhooks .*: the target has it with other content: status"):
        restore(target, "latest", backups)
    done = restore(target, "latest", backups, on_conflict="skip")
    assert done.created == {"rows": 2}
    assert [(one.kind, one.id.split()[0]) for one in done.refused][:1] == [("row", "webhooks")]
    with closing(sqlite3.connect(target.removeprefix("sqlite:///"))) as db:
        assert db.execute("SELECT count(*) FROM issues").fetchone() == (2,)


def test_a_deleted_webhook_is_named_and_becomes_active(backups: str, target: str) -> None:
    """MLflow keeps its row, with the time of the deletion."""
    restore(target, "latest", backups)
    deleted = "UPDATE webhooks SET deleted_timestamp = 9, last_updated_timestamp = 9 WHERE deleted_timestamp IS NULL"
    change(target, deleted, "DELETE FROM issues")
    left = restore(target, "latest", backups)
    assert (left.exit_code, left.created) == (ExitCode.INCOMPLETE, {"rows": 2})
    assert {(one.kind, one.code) for one in left.refused} == {("row", "deleted_in_target")}
    back = restore(target, "latest", backups, undelete=True)
    assert (back.exit_code, back.undeleted) == (ExitCode.DONE, {"rows": len(left.refused)})
    with closing(sqlite3.connect(target.removeprefix("sqlite:///"))) as db:
        found = db.execute("SELECT deleted_timestamp FROM webhooks WHERE last_updated_timestamp = 9").fetchall()
        assert found == [(None,)] * len(left.refused)


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_what_must_be_unique_and_is_taken_is_a_conflict(kind: str, backups: str, target: str, request: Any) -> None:
    uri = target if kind == "sqlite" else request.getfixturevalue(kind)()
    restore(uri, "latest", backups)
    change(
        uri,
        "DELETE FROM endpoint_model_mappings",
        "DELETE FROM model_definitions WHERE name = 'name 0'",
        "INSERT INTO model_definitions (model_definition_id, name, provider, model_name, created_at, last_updated_at, "
        "workspace) VALUES ('d-other', 'name 0', 'openai', 'x', 1, 1, 'default')",
    )
    done = restore(uri, "latest", backups, on_conflict="skip")
    taken, *others = (one for one in done.refused if one.kind == "row")
    assert "its workspace and name belong to another row of the target" in taken.reason
    assert others == []
    (missing,) = (one for one in done.refused if one.id == "of endpoint_model_mappings")
    assert missing.reason == "1 refer to model_definitions that are missing in the target (model_definition_id)"
    assert done.created == {"rows": 1}
    assert done.comparison is not None
    assert done.comparison.is_equal, done.comparison.differences


def test_a_table_that_the_target_lacks_is_named(full: Path, tmp_path: Path, target: str) -> None:
    source = f"sqlite:///{tmp_path}/source.db"
    (tmp_path / "source.db").write_bytes(full.read_bytes())
    change(
        source,
        "CREATE TABLE gizmos (id INTEGER PRIMARY KEY, run_uuid VARCHAR REFERENCES runs (run_uuid), api_token VARCHAR)",
        "CREATE TABLE a_part (id INTEGER PRIMARY KEY, gizmo INTEGER REFERENCES gizmos (id), data BLOB, at DATE)",
        "INSERT INTO gizmos SELECT 7, run_uuid, 'MLMETA-SECRET-x' FROM runs LIMIT 1",
        "INSERT INTO a_part VALUES (9, 7, x'00ff', '2026-01-01'), (10, 7, NULL, NULL)",
    )
    snapshot = saved(source, tmp_path / "b")
    assert list(snapshot.summary.tables.items())[-2:] == [("a_part", 2), ("gizmos", 1)]
    assert rows(snapshot)[-3:-1] == [
        Row(table="a_part", key={"id": 9}, row={"gizmo": 7, "data": {"base64": "AP8="}, "at": "2026-01-01"}),
        Row(table="a_part", key={"id": 10}, row={"gizmo": 7, "data": None, "at": None}),
    ]
    assert rows(snapshot)[-1].row["api_token"] == {"withheld": True}
    assert any("gizmos: api_token may hold secrets" in note for note in snapshot.summary.warnings)
    done = restore(target, "latest", str(tmp_path / "b"), on_conflict="skip")
    assert ("rows", "of gizmos", "the target has no table gizmos (1 row)") in [
        (one.kind, one.id, one.reason) for one in done.refused
    ]
    assert done.exit_code == ExitCode.INCOMPLETE
    change(
        target,
        "CREATE TABLE gizmos (id INTEGER PRIMARY KEY, run_uuid VARCHAR REFERENCES runs (run_uuid), api_token VARCHAR)",
        "CREATE TABLE a_part (id INTEGER PRIMARY KEY, gizmo INTEGER REFERENCES gizmos (id), data BLOB, at DATE)",
    )
    assert restore(target, "latest", str(tmp_path / "b")).created == {"rows": 3}
    assert rows(saved(target, tmp_path / "c"))[-3:-1] == rows(snapshot)[-3:-1]


def test_an_empty_store_has_no_rows(tmp_path: Path) -> None:
    create_schema(sa.create_engine(f"sqlite:///{tmp_path}/empty.db", poolclass=sa.NullPool))
    snapshot = saved(f"sqlite:///{tmp_path}/empty.db", tmp_path / "b")
    assert "rows" not in snapshot.summary.files
    assert snapshot.summary.tables == {}


def test_a_selected_experiment_comes_with_its_rows(backups: str, full: Path, tmp_path: Path, target: str) -> None:
    first = mlmeta.open_snapshot(backups, "latest")
    limited = mlmeta.backup(f"sqlite:///{full}", str(tmp_path / "b"), experiments="name 0")
    found = rows(mlmeta.open_snapshot(str(tmp_path / "b"), "latest"))
    assert {row.table for row in found} >= {"scorers", "scorer_versions", "endpoints", "review_queue_items", "issues"}
    assert "entity_associations" in {row.table for row in found}
    assert not {row.table for row in found} & {"secrets", "webhooks", "mcp_servers"}
    assert all(row in rows(first) for row in found)
    (told,) = [one for one in limited.warnings if "rows that belong to no experiment were not saved: " in one]
    assert "entity_associations" not in told  # those of datasets are no rows, those of traces come with these
    done = restore(target, "latest", backups, selection=Selection("name 0"))
    assert any("none of the selected experiments are left out: " in one for one in done.warnings)
    again = rows(saved(target, tmp_path / "c"))
    assert [row for row in found if row.table != "endpoint_model_mappings"] == again


def test_rows_through_the_api_are_named(backups: str, server: Any, cli: Cli) -> None:
    done = cli("restore", "--timestamp", "latest", "--tracking-uri", server.uri, "--storage", backups, "--json").ended(
        3
    )
    named = [issue["message"] for issue in done.document["errors"] if issue["code"] == "not_through_api"]
    assert any(one.startswith("rows of webhooks: 2: MLflow's API has no way") for one in named)


def test_nothing_acts_in_a_browsed_snapshot(backups: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {}

    @contextlib.contextmanager
    def forked(folder: Path, port: int | None, *, workspaces: bool) -> Iterator[str]:
        """The same server, in a second instead of eight."""
        with server_of(folder, arguments=("--enable-workspaces",) if workspaces else ()) as running:
            yield running.uri

    monkeypatch.setattr("mlmeta.commands.browse.mlflow_server", forked)

    def look(_: str, uri: str) -> None:
        for name, path in {
            "webhooks": "2.0/mlflow/webhooks",
            "scorers": "3.0/mlflow/scorers/list?experiment_id=1",
        }.items():
            with urllib.request.urlopen(f"{uri}/api/{path}") as reply:
                counts[name] = len(json.load(reply).get(name, ()))

    browse("latest", backups, look)
    assert counts == {"webhooks": 0, "scorers": 1}


def test_a_trial_names_what_no_mlflow_here_has(full: Path, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/source.db"
    (tmp_path / "source.db").write_bytes(full.read_bytes())
    change(source, "CREATE TABLE gizmos (id INTEGER PRIMARY KEY)", "INSERT INTO gizmos VALUES (1)")
    done = mlmeta.backup(source, str(tmp_path / "b"), with_drill=True)
    assert done.drill is not None
    assert "rows of gizmos" in done.drill.unkept
    assert done.drill.is_equal, done.drill.differences


def test_a_server_shows_what_was_restored(backups: str, tmp_path: Path) -> None:
    restore(f"sqlite:///{tmp_path}/mlflow.db", "latest", backups)
    paths = {
        "endpoints": "3.0/mlflow/gateway/endpoints/list",
        "secrets": "3.0/mlflow/gateway/secrets/list",
        "guardrails": "3.0/mlflow/gateway/guardrails/list",
        "webhooks": "2.0/mlflow/webhooks",
        "scorers": "3.0/mlflow/scorers/list?experiment_id=1",
        "label_schemas": "3.0/mlflow/label-schemas/list?experiment_id=1",
        "review_queues": "3.0/mlflow/review-queues/list?experiment_id=1",
        "mcp_servers": "3.0/mlflow/mcp-servers",
    }
    counts = {}
    with server_of(tmp_path, uvicorn=True, arguments=("--enable-workspaces",)) as running:
        for name, path in paths.items():
            with urllib.request.urlopen(f"{running.uri}/api/{path}") as reply:
                counts[name] = len(json.load(reply)[name])
        compared = mlmeta.diff(storage=backups, tracking_uri=running.uri, only="settings")
    assert "row" not in compared.comparison.records
    assert any("rows of the database were not compared" in one for one in compared.warnings)
    one_each = dict.fromkeys(("webhooks", "scorers", "label_schemas", "review_queues"), 1)
    assert counts == dict.fromkeys(paths, 2) | one_each


def test_the_default_workspace_is_saved_where_it_is_not_as_mlflow_made_it(full: Path, tmp_path: Path) -> None:
    source, target = (f"sqlite:///{tmp_path}/{name}.db" for name in ("source", "target"))
    (tmp_path / "source.db").write_bytes(full.read_bytes())
    change(source, "UPDATE workspaces SET default_artifact_root = 'gs://other' WHERE name = 'default'")
    assert saved(source, tmp_path / "b").summary.tables["workspaces"] == 2
    done = restore(target, "latest", str(tmp_path / "b"))
    assert (done.exit_code, done.present) == (ExitCode.DONE, {})
    assert saved(target, tmp_path / "c").summary.tables["workspaces"] == 2
    change(target, "UPDATE workspaces SET default_artifact_root = 'gs://ours' WHERE name = 'default'")
    again = restore(target, "latest", str(tmp_path / "b"))
    assert "the workspace default is there: it keeps its own attributes" in again.warnings
    moved = restore(f"{target}2", "latest", str(tmp_path / "b"), rewrite=[("gs://other", "gs://new/place")])
    assert (moved.exit_code, moved.unexplained) == (ExitCode.DONE, ())
    assert any(warning.endswith("1 row") for warning in moved.warnings)
    roots = [row.row["default_artifact_root"] for row in rows(saved(f"{target}2", tmp_path / "d")) if is_default(row)]
    assert roots == ["gs://new/place"]
    assert (again.created, again.exit_code) == ({}, ExitCode.DONE)


def test_odd_values_are_saved_and_come_back(tmp_path: Path) -> None:
    source, target = (f"sqlite:///{tmp_path}/{name}.db" for name in ("source", "target"))
    deep = "[" * 300 + "]" * 300
    for uri in (source, target):
        create_schema(sa.create_engine(uri, poolclass=sa.NullPool))
    change(
        source,
        "INSERT INTO mcp_servers (workspace, name, icons, created_at, last_updated_at) VALUES "
        f"('default', 'deep', '{deep}', 1, 1), ('default', 'no json', 'NaN', 1, 1), "
        "('default', 'text', '\"1\"', 1, 1), ('default', x'ff', '1e3', 1, 1)",
        "INSERT INTO workspaces (name, description) VALUES ('a', 'x'), ('Z', CAST(x'ff' AS TEXT))",
    )
    found = {
        row.key["name"] if isinstance(row.key["name"], str) else "": row for row in rows(saved(source, tmp_path / "b"))
    }
    assert [row.row["icons"] for row in found.values() if row.table == "mcp_servers"] == [deep, "NaN", "1", 1000.0]
    assert found["Z"].row["description"] == {"base64": "/w=="}
    assert [row.key["name"] for row in found.values() if row.table == "workspaces"] == ["Z", "a"]
    assert mlmeta.verify("latest", str(tmp_path / "b")).exit_code == ExitCode.DONE
    done = restore(target, "latest", str(tmp_path / "b"))
    assert done.comparison is not None
    assert done.comparison.is_equal, done.comparison.differences


def test_any_type_of_postgresql_comes_back_and_its_counters_go_on(
    backups: str, postgres: Callable[[], str], tmp_path: Path
) -> None:
    source, target = postgres(), postgres()
    gizmos = "id SERIAL PRIMARY KEY, run_uuid VARCHAR REFERENCES runs (run_uuid), day DATE, n NUMERIC, u UUID, j JSONB"
    made = (
        f"CREATE TABLE gizmos ({gizmos}, b BYTEA, f FLOAT, parent INTEGER REFERENCES gizmos (id))",
        "CREATE TABLE a_part (u UUID, day DATE, workspace VARCHAR, PRIMARY KEY (u, day))",
    )
    for uri in (source, target):
        restore(uri, "latest", backups)
        change(uri, *made)
    one, other = "00000000-0000-0000-0000-000000000001", "f0000000-0000-0000-0000-000000000000"
    change(
        source,
        f"INSERT INTO gizmos VALUES (7, NULL, '2026-01-31', 1.50, '{one}', '\"1\"', '\\x00ff', 'NaN', 9), "
        "(9, NULL, NULL, NULL, NULL, '{\"a\": [1, null]}', NULL, 0.1, NULL)",
        f"INSERT INTO a_part VALUES ('{other}', '2026-01-01', 'default'), ('{one}', '2026-01-02', NULL)",
    )
    first = saved(source, tmp_path / "b")
    assert restore(target, "latest", str(tmp_path / "b"), on_conflict="skip").created == {"rows": 4}
    assert rows(saved(target, tmp_path / "c"))[-4:] == rows(first)[-4:]
    assert restore(target, "latest", str(tmp_path / "b"), on_conflict="skip").created == {}
    with sa.create_engine(target, poolclass=sa.NullPool).begin() as connection:
        assert connection.exec_driver_sql("INSERT INTO gizmos (f) VALUES (1) RETURNING id").scalar() == 10


def test_json_of_mariadb_is_json_in_any_table(backups: str, mysql: Callable[[], str], tmp_path: Path) -> None:
    source, target = mysql(), mysql()
    for uri in (source, target):
        restore(uri, "latest", backups)
        change(uri, "CREATE TABLE gizmos (id INTEGER PRIMARY KEY, workspace VARCHAR(9), j JSON, t TEXT)")
    change(source, """INSERT INTO gizmos VALUES (1, 'x', '{"b": "1", "a": [null]}', '{}')""")
    first = saved(source, tmp_path / "b")
    assert rows(first)[-1].row == {"workspace": "x", "j": {"b": "1", "a": [None]}, "t": "{}"}
    assert restore(target, "latest", str(tmp_path / "b"), on_conflict="skip").created == {"rows": 1}
    assert rows(saved(target, tmp_path / "c"))[-1] == rows(first)[-1]
