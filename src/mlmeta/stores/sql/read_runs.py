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
from mlmeta.stores.sql.database_tables import Tables, among, by_bytes, whole
from mlmeta.stores.sql.inputs import read_inputs
from mlmeta.stores.sql.latest import latest_metrics, with_latest
from mlmeta.stores.sql.oddities import STAGES, shown
from mlmeta.stores.sql.queries import BATCH, any_text, rows_of

RUN_NAME_TAG = "mlflow.runName"
FIRST_BATCH = 50
"""Runs that are read before anything else can begin; each batch has twice as many, up to `BATCH`."""

STATUSES = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})

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
    start = whole(table.c.start_time, dialect)
    query = sa.select(*tables.columns("runs", *_COLUMNS)).where(meant(tables, "runs", experiments))
    query = query.order_by(
        table.c.experiment_id,
        sa.case((start.is_(None), 1), else_=0),
        start,
        by_bytes(table.c.run_uuid, dialect),
    )
    # A cursor in the server leaves the connection free for the look-ups; MySQL's would not.
    options = {"stream_results": True, "max_row_buffer": BATCH} if dialect == "postgresql" else {}
    with any_text(connection):
        result = connection.execute(query, execution_options=options)
    for size in _sizes():
        with any_text(connection):
            rows = result.fetchmany(size)
        if not rows:
            return
        yield _complete(connection, tables, rows)


def _sizes() -> Iterator[int]:
    size = FIRST_BATCH
    while True:
        yield size
        size = min(2 * size, BATCH)


def runs_by_id(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, Run]:
    """Those of at most `BATCH` runs that exist, by id."""
    query = sa.select(*tables.columns("runs", *_COLUMNS)).where(
        among(tables["runs"].c.run_uuid, ids, connection.dialect.name)
    )
    return {run.run_id: run for run in _complete(connection, tables, rows_of(connection, query))}


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
    rows = [row for row in rows if _has_id(tables, row[0])]
    ids = [row[0] for row in rows]
    if not ids:
        return []
    params = _pairs(connection, tables, "params", ids)
    tags = _pairs(connection, tables, "tags", ids)
    metrics = latest_metrics(connection, tables, ids)
    inputs = read_inputs(connection, tables, ids)
    found = []
    for row in rows:
        run_id = row[0]
        values = _info(row, tags[run_id], tables) | {"params": params[run_id], "metrics": metrics[run_id]}
        named = {"run_name": tags[run_id].get(RUN_NAME_TAG)}
        run = tables.oddities.validated(Run, values | inputs[run_id], "run", run_id, named)
        if run is not None:
            found.append(with_latest(connection, tables, run, metrics[run_id]))
    return found


def _has_id(tables: Tables, run_id: Any) -> bool:
    if isinstance(run_id, str):
        return True
    tables.oddities.lost("run", shown(run_id), "its id is not text, and it was not saved")
    return False


def _info(row: Sequence[Any], tags: dict[str, str], tables: Tables) -> dict[str, Any]:
    run_id, experiment_id, name, user, status, stage, start, end, deleted, artifact_uri = row
    known = tables.oddities.one_of
    return {
        "run_id": run_id,
        "experiment_id": str(experiment_id),
        "run_name": name or tags.get(RUN_NAME_TAG) or None,  # as SqlRun.to_mlflow_entity
        "user_id": user or None,
        "status": known("run", run_id, "status", status, STATUSES, "SCHEDULED"),
        "lifecycle_stage": known("run", run_id, "lifecycle_stage", stage, STAGES, "active"),
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
    rows = rows_of(connection, query)
    tables.read[name] += len(rows)
    for run_id, key, value in rows:
        found[run_id][key] = value or ""
    return found
