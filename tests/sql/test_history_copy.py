"""Histories packed for PostgreSQL's binary COPY, compared with rows written one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from mlmeta.errors import DamagedSnapshotError, RestoreError
from mlmeta.schema import Experiment, HistoryLine, LatestMetric, MetricHistory, Run
from mlmeta.snapshot.reader import RunLines, Snapshot
from mlmeta.stores.sql.metric_rows import history_rows
from mlmeta.stores.sql.postgres import TYPES, copy_histories
from mlmeta.stores.sql.restorer import SqlTarget
from mlmeta.stores.sql.schema import make_schema
from mlmeta.stores.sql.stored import StoredHistories
from tests.builders.snapshots import snapshot_of
from tests.sql.helpers import ALL, QUIET, backup, digests, tables
from tests.support.examples import examples

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_VALUES = st.floats(allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=32)


@st.composite
def _histories(draw: st.DrawFn) -> MetricHistory:
    points = draw(st.lists(st.tuples(_INTEGERS, _INTEGERS, _VALUES), min_size=1, max_size=6, unique=True))
    step, timestamp, value = (list(column) for column in zip(*points, strict=True))
    return MetricHistory(run_id=draw(_TEXTS), key=draw(_TEXTS), step=step, timestamp=timestamp, value=value)


@pytest.fixture(scope="module")
def bare(postgres: Callable[[], str]) -> Iterator[Connection]:
    """A database with MLflow's schema, whose table of metrics takes anything."""
    with sa.create_engine(postgres(), poolclass=sa.NullPool).connect() as connection:
        make_schema(connection)
        connection.exec_driver_sql("CREATE TEMPORARY TABLE bare (LIKE metrics)")
        connection.exec_driver_sql("ALTER TABLE metrics RENAME TO theirs")
        connection.exec_driver_sql("ALTER TABLE bare RENAME TO metrics")
        yield connection


def _stored(connection: Connection) -> list[tuple[object, ...]]:
    found = connection.execute(sa.text(f"SELECT {', '.join(TYPES)} FROM metrics")).all()
    connection.exec_driver_sql("DELETE FROM metrics")
    return [tuple(row) for row in found]


@examples(200)
@given(st.lists(_histories(), max_size=4))
def test_packed_histories_are_the_rows(bare: Connection, records: list[MetricHistory]) -> None:
    copy_histories(bare, records)
    expected = [row for record in records for row in history_rows(record)]
    assert _stored(bare) == expected
    assert all(not math.isnan(row[2]) for row in expected)


def test_more_than_a_block(bare: Connection) -> None:
    record = MetricHistory(
        run_id="r" * 32, key="é" * 40, step=list(range(2000)), timestamp=[7] * 2000, value=[math.nan, 0.1] * 1000
    )
    copy_histories(bare, [record] * 3)
    assert _stored(bare) == list(history_rows(record)) * 3


def _snapshot(folder: Path, key: str = "loss", step: int = 1) -> Snapshot:
    latest = {key: LatestMetric(value=0.25, step=1, timestamp=2)}
    run = Run(run_id="1" * 32, experiment_id="1", status="FINISHED", start_time=1, metrics=latest)
    history = MetricHistory(run_id=run.run_id, key=key, step=[0, step], timestamp=[1, 2], value=[0.5, 0.25])
    return snapshot_of([Experiment(experiment_id="1", name="e"), run, history], folder)


@pytest.mark.parametrize(
    ("key", "why"),
    [("a\0b", "has a NUL character"), ("x" * 300, "has 300 characters; latest_metrics.key holds 250")],
    ids=["NUL", "long"],
)
def test_what_no_column_holds_is_refused(key: str, why: str, tmp_path: Path, postgres: Callable[[], str]) -> None:
    """(A number beyond 64 bits is in no snapshot.)"""
    uri = postgres()
    with pytest.raises(RestoreError, match=why):
        SqlTarget(uri).restore(_snapshot(tmp_path / "a", key), ALL, QUIET)
    assert tables(uri) == []


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_history_that_is_spoiled_after_the_verification(kind: str, tmp_path: Path, request: Any) -> None:
    """Histories are taken apart late: nothing stays of what was written before."""
    uri = request.getfixturevalue("postgres")() if kind == "postgresql" else f"sqlite:///{tmp_path}/new.db"
    snapshot = _snapshot(tmp_path / "a")
    path = tmp_path / "a" / snapshot.summary.files["metrics"].name
    path.write_bytes(path.read_bytes().replace(b"[1,2]", b"[1,x]"))
    with pytest.raises(DamagedSnapshotError, match="SHA-256 differs"):
        SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert not (tmp_path / "new.db").exists()
    assert kind == "sqlite" or tables(uri) == []


def test_a_line_that_is_no_history_is_named() -> None:
    line = HistoryLine.of(b'{"run_id":"r1","key":"loss","step":[1,x],"timestamp":[1,2],"value":[0.5,1.5]}')
    item = RunLines(Run(run_id="r1", experiment_id="1", status="FINISHED"), (line,))
    with pytest.raises(DamagedSnapshotError, match="the metric history 'r1/loss' is damaged"):
        list(StoredHistories(item))


def test_a_table_of_other_types_gets_rows(tmp_path: Path, postgres: Callable[[], str]) -> None:
    """Somebody widened a column."""
    snapshot = _snapshot(tmp_path / "a", "größe")
    uri = postgres()
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as connection:
        make_schema(connection)
        connection.exec_driver_sql("ALTER TABLE metrics ALTER COLUMN key TYPE text")
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)


def test_a_database_of_another_encoding(tmp_path: Path, postgres: Callable[[], str]) -> None:
    snapshot = _snapshot(tmp_path / "a", "größe")
    first = postgres()
    with sa.create_engine(first, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    uri = sa.make_url(first).set(database="latin").render_as_string(hide_password=False)
    SqlTarget(uri).restore(snapshot, ALL, QUIET)
    assert digests(backup(uri, tmp_path / "b")) == digests(snapshot)
