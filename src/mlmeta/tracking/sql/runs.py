"""Runs with params, tags, latest metrics and inputs, read from MLflow's tables.

Runs come in batches; the rows that belong to a batch are looked up by run id, which every MLflow version has
indexed. So nothing has to be sorted but the runs, and memory holds one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from mlmeta.schema import Run
from mlmeta.tracking.sql.batches import BATCH
from mlmeta.tracking.sql.inputs import read_inputs
from mlmeta.tracking.sql.tables import Tables, among, by_bytes

RUN_NAME_TAG = "mlflow.runName"
FIRST_BATCH = 50
"""Runs that are read before anything else can begin; each batch has twice as many, up to `BATCH`."""

_NAN = float("nan")

_COLUMNS = (
    "run_uuid",
    "experiment_id",
    "name",
    "user_id",
    "status",
    "lifecycle_stage",
    "start_time",
    "end_time",
    "deleted_time",
    "artifact_uri",
)


def stream_runs(connection: Connection, tables: Tables, experiments: Sequence[int] | None) -> Iterator[list[Run]]:
    """Batches of runs by experiment id, start time and run id.

    Args:
        connection: in a transaction.
        tables: of that database.
        experiments: ids of the experiments that are meant; None: all.
    """
    table, dialect = tables["runs"], connection.dialect.name
    query = sa.select(*tables.columns("runs", *_COLUMNS)).where(meant(tables, "runs", experiments))
    query = query.order_by(
        table.c.experiment_id,
        sa.case((table.c.start_time.is_(None), 1), else_=0),
        table.c.start_time,
        by_bytes(table.c.run_uuid, dialect),
    )
    # A cursor in the server leaves the connection free for the look-ups; MySQL's would not.
    options = {"stream_results": True, "max_row_buffer": BATCH} if dialect == "postgresql" else {}
    result, size = connection.execute(query, execution_options=options), FIRST_BATCH
    while rows := result.fetchmany(size):
        yield _complete(connection, tables, rows)
        size = min(2 * size, BATCH)


def runs_by_id(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, Run]:
    """Those of at most `BATCH` runs that exist, by id."""
    query = sa.select(*tables.columns("runs", *_COLUMNS)).where(
        among(tables["runs"].c.run_uuid, ids, connection.dialect.name)
    )
    return {run.run_id: run for run in _complete(connection, tables, connection.execute(query).all())}


def count_runs(connection: Connection, tables: Tables, experiments: Sequence[int] | None) -> int:
    """How many runs `stream_runs` would give."""
    query = sa.select(sa.func.count()).select_from(tables["runs"]).where(meant(tables, "runs", experiments))
    return int(connection.execute(query).scalar_one())


def meant(tables: Tables, name: str, experiments: Sequence[int] | None) -> ColumnElement[bool]:
    """The condition for rows of a table that belong to these experiments; None: to any that a server shows."""
    column = tables[name].c.experiment_id
    if experiments is not None:
        return column.in_(experiments)
    ids = sa.select(tables["experiments"].c.experiment_id)
    return column.in_(ids.where(tables.in_default_workspace("experiments")))


def _complete(connection: Connection, tables: Tables, rows: Sequence[sa.Row[Any]]) -> list[Run]:
    ids = [row[0] for row in rows]
    if not ids:
        return []
    params = _pairs(connection, tables, "params", ids)
    tags = _pairs(connection, tables, "tags", ids)
    metrics = _latest(connection, tables, ids)
    inputs = read_inputs(connection, tables, ids)
    return [
        Run.model_validate(
            _info(row, tags[row[0]]) | {"params": params[row[0]], "metrics": metrics[row[0]]} | inputs[row[0]]
        )
        for row in rows
    ]


def _info(row: Sequence[Any], tags: dict[str, str]) -> dict[str, Any]:
    run_id, experiment_id, name, user, status, stage, start, end, deleted, artifact_uri = row
    return {
        "run_id": run_id,
        "experiment_id": str(experiment_id),
        "run_name": name or tags.get(RUN_NAME_TAG) or None,  # as SqlRun.to_mlflow_entity
        "user_id": user or None,
        "status": status,
        "lifecycle_stage": stage,
        "start_time": start,
        "end_time": end or None,  # over REST an absent time is 0
        "deleted_time": deleted,
        "artifact_uri": artifact_uri or None,
        "tags": tags,
    }


def _pairs(connection: Connection, tables: Tables, name: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    table = tables[name]
    query = sa.select(table.c.run_uuid, table.c.key, table.c.value)
    query = query.where(among(table.c.run_uuid, ids, connection.dialect.name))
    found: dict[str, dict[str, str]] = {run_id: {} for run_id in ids}
    for run_id, key, value in connection.execute(query):
        found[run_id][key] = value or ""
    return found


def _latest(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """What makes each run's latest metrics: pydantic builds them with the run, in a third of the time."""
    table = tables["latest_metrics"]
    columns = tables.columns("latest_metrics", "run_uuid", "key", "value", "step", "timestamp", "is_nan")
    query = sa.select(*columns).where(among(table.c.run_uuid, ids, connection.dialect.name))
    found: dict[str, dict[str, dict[str, Any]]] = {run_id: {} for run_id in ids}
    for run_id, key, value, step, timestamp, nan in connection.execute(query):
        found[run_id][key] = {"value": _NAN if nan else value, "step": step, "timestamp": timestamp}
    return found
