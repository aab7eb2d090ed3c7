"""Rows that somebody prepared, in a snapshot with right checksums: they come only where rows may come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import mlmeta
from mlmeta import restore
from mlmeta.commands.restore import RestoreResult
from mlmeta.errors import DamagedSnapshotError, ExitCode
from mlmeta.schema import Row, Selection
from mlmeta.schema.rows import row_order
from tests.builders.everything import fill_everything
from tests.support import hostile

SERVER: dict[str, Any] = {"description": None, "created_at": 1, "last_updated_at": 1}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot that has rows. Not to be changed."""
    folder = tmp_path_factory.mktemp("sound")
    fill_everything(f"sqlite:///{folder}/mlflow.db", workspaces=True)
    mlmeta.backup(f"sqlite:///{folder}/mlflow.db", str(folder / "backups"))
    return folder / "backups"


def prepared(sound: Path, ground: Path, rows: Sequence[Row], **summary: object) -> str:
    """A folder whose newest snapshot has these rows and no others."""
    lines = [row.to_line() for row in sorted(rows, key=row_order)]

    def change(snapshot: hostile.Snapshot) -> None:
        snapshot.lines("rows", *lines)
        snapshot.fields["stats"]["rows"] = len(rows)
        snapshot.fields.update({"tables": Counter(row.table for row in rows)} | summary)

    return str(hostile.build(sound, ground, change).folder)


def a_server(name: str, **columns: object) -> Row:
    return Row(table="mcp_servers", key={"workspace": "default", "name": name}, row={**SERVER, **columns})


def content(uri: str, query: str) -> list[Any]:
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def said(done: RestoreResult) -> dict[str, str]:
    return {one.id: one.reason for one in done.refused}


@pytest.fixture
def uri_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    def uri(kind: str) -> str:
        return f"sqlite:///{tmp_path}/target.db" if kind == "sqlite" else str(request.getfixturevalue(kind)())

    return uri


CLOSED = {
    "jobs": {"id": "x", "job_name": "evil", "params": "{}", "status": 0, "retry_count": 0, "creation_time": 1},
    "job_locks": {"lock_key": "x", "acquired_at": 1},
    "alembic_version": {"version_num": "zzz"},
    "sql_trace_rollup_rebuild_queue": {"experiment_id": 1},
    "experiments": {"experiment_id": 99, "name": "evil", "lifecycle_stage": "active"},
    "runs": {"run_uuid": "f" * 32, "experiment_id": 1},
    "trace_info": {"request_id": "tr-" + "f" * 32, "experiment_id": 1, "timestamp_ms": 1, "status": "OK"},
    "evaluation_dataset_records": {"dataset_record_id": "x"},
    "model_versions": {"name": "evil", "version": 1},
}


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_no_row_comes_into_a_table_that_has_none_in_any_snapshot(
    kind: str, sound: Path, tmp_path: Path, uri_of: Callable[[str], str]
) -> None:
    rows = [Row(table=name, key=dict([*row.items()][:1]), row=dict([*row.items()][1:])) for name, row in CLOSED.items()]
    folder, uri = prepared(sound, tmp_path, rows), uri_of(kind)
    restore(uri, hostile.GOOD, folder)
    before = {table: content(uri, f"SELECT count(*) FROM {table}") for table in CLOSED}
    done = restore(uri, hostile.BAD, folder)
    assert done.exit_code == ExitCode.INCOMPLETE
    assert {name for name, why in said(done).items() if "is ever written" in why} == {f"of {table}" for table in CLOSED}
    assert {table: content(uri, f"SELECT count(*) FROM {table}") for table in CLOSED} == before


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_what_is_somebody_elses_gets_rows_only_where_that_is_asked_for(
    kind: str, sound: Path, tmp_path: Path, uri_of: Callable[[str], str]
) -> None:
    folder, uri = prepared(sound, tmp_path, [Row(table="admins", key={"id": 1}, row={"name": "evil"})]), uri_of(kind)
    restore(uri, hostile.GOOD, folder)
    with sa.create_engine(uri, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE admins (id INTEGER PRIMARY KEY, name VARCHAR(9))")
    assert "--table admins restores its rows" in said(restore(uri, hostile.BAD, folder))["of admins"]
    assert content(uri, "SELECT * FROM admins") == []
    assert restore(uri, hostile.BAD, folder, selection=Selection(tables=("admins",))).created == {"rows": 1}
    assert content(uri, "SELECT * FROM admins") == [(1, "evil")]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mysql"])
def test_values_that_no_column_has(kind: str, sound: Path, tmp_path: Path, uri_of: Callable[[str], str]) -> None:
    odd = (
        a_server("too big", created_at=1 << 70),
        a_server("an object", created_at={"a": 1}),
        a_server('a column "; DROP TABLE runs; --', **{'x"; DROP TABLE runs; --': 1}),
        Row(table="mcp_servers", key={"workspace": "default", "name": [1]}, row=SERVER),
        Row(table="mcp_servers", key={"workspace": "default", "name": None}, row=SERVER),
        Row(table="mcp_servers", key={}, row={}),
        Row(table="issues", key={"issue_id": 1 << 70}, row={"experiment_id": "one"}),
        Row(table="trace_metrics", key={"request_id": 1.5, "key": True}, row={"value": "Infinity"}),
        Row(table='t"; DROP TABLE runs; --', key={"a": 1}, row={}),
        Row(table="JOBS", key={"id": "x"}, row={}),
        Row(table="main.jobs", key={"id": "x"}, row={}),
        Row(table="sqlite_master", key={"name": "x"}, row={}),
    )
    folder, uri = prepared(sound, tmp_path, [*odd, a_server("sound")]), uri_of(kind)
    restore(uri, hostile.GOOD, folder)
    done = restore(uri, hostile.BAD, folder, on_conflict="skip")
    assert (done.exit_code, done.created) == (ExitCode.INCOMPLETE, {"rows": 1})
    assert done.comparison is not None
    assert done.comparison.is_equal
    assert content(uri, "SELECT name FROM mcp_servers WHERE created_at = 1") == [("sound",)]


def test_a_secret_that_is_given_is_not_taken(sound: Path, tmp_path: Path, uri_of: Callable[[str], str]) -> None:
    """A webhook would be signed with what somebody else knows."""
    columns = {"name": "x", "url": "https://example.com", "status": "ACTIVE", "secret": "known"}
    times = {"creation_timestamp": 1, "last_updated_timestamp": 1, "workspace": "default"}
    folder = prepared(sound, tmp_path, [Row(table="webhooks", key={"webhook_id": "w"}, row=columns | times)])
    done = restore(uri_of("sqlite"), hostile.BAD, folder, verify=False)
    assert content(uri_of("sqlite"), "SELECT name, secret FROM webhooks") == [("x", None)]
    assert [note for note in done.warnings if "to be entered again" in note]


@pytest.mark.parametrize("tables", [{}, {"mcp_servers": 2}, {"mcp_servers": 1, "webhooks": 1}, {"mcp_servers": -1}])
def test_a_summary_that_counts_other_rows(tables: dict[str, int], sound: Path, tmp_path: Path) -> None:
    folder = prepared(sound, tmp_path, [a_server("a")], tables=tables)
    assert mlmeta.verify(hostile.BAD, folder).exit_code == ExitCode.DIFFERENT
    with pytest.raises(DamagedSnapshotError):
        restore(f"sqlite:///{tmp_path}/target.db", hostile.BAD, folder)
    assert not (tmp_path / "target.db").exists()


def test_a_column_twice_is_damage(sound: Path, tmp_path: Path) -> None:
    key = {"workspace": "default", "name": "a"}
    row = Row.model_construct(table="mcp_servers", key=key, row={**SERVER, "name": "b"})
    folder = prepared(sound, tmp_path, [row])
    (problem,) = mlmeta.verify(hostile.BAD, folder).issues
    assert "a column of the key is there twice" in problem.message
