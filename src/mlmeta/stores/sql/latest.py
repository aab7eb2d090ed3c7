"""Latest points of metrics: from MLflow's table of them, or from histories where that is missing or odd."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import LatestMetric, Run
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.odd_points import points_of
from mlmeta.stores.sql.queries import rows_of

Latest = dict[str, dict[str, Any]]
"""By key, what makes a `LatestMetric`: pydantic builds them with the run, in a third of the time."""

_COLUMNS = ("run_uuid", "key", "value", "step", "timestamp", "is_nan")
_NAN = float("nan")


def latest_metrics(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, Latest]:
    """The latest metrics of these runs as the database has them."""
    query = _query if "latest_metrics" in tables else _from_histories
    found: dict[str, Latest] = {run_id: {} for run_id in ids}
    rows = rows_of(connection, query(connection, tables, ids))
    tables.read["latest_metrics"] += len(rows)
    for run_id, key, value, step, timestamp, nan in rows:
        found[run_id][key] = {"value": _NAN if nan else value, "step": step, "timestamp": timestamp}
    return found


def _query(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    table = tables["latest_metrics"]
    query = sa.select(*tables.columns("latest_metrics", *_COLUMNS))
    return query.where(among(table.c.run_uuid, ids, connection.dialect.name))


def _from_histories(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    """As MLflow 1.2 filled its new table of latest metrics (its migration 89d4b8295536)."""
    run, key, value, step, timestamp, _ = (tables.column("metrics", name) for name in _COLUMNS)
    order = (step.desc(), timestamp.desc(), value.desc())
    place = sa.func.row_number().over(partition_by=(run, key), order_by=order).label("place")
    points = sa.select(*tables.columns("metrics", *_COLUMNS), place)
    found = points.where(among(run, ids, connection.dialect.name)).subquery()
    return sa.select(*(found.c[name] for name in _COLUMNS)).where(found.c.place == 1)


def with_latest(connection: Connection, tables: Tables, run: Run, stored: Latest) -> Run:
    """A run with latest metrics for all keys; from its histories where the stored ones were too odd to be kept.

    Args:
        connection: in a transaction.
        tables: of that database.
        run: of which those are left out.
        stored: what the database had.
    """
    if len(run.metrics) == len(stored):
        return run
    found = {key: _last(connection, tables, run.run_id, key) for key in stored if key not in run.metrics}
    there = {key: latest for key, latest in found.items() if latest is not None}
    return run.model_copy(update={"metrics": dict(sorted({**run.metrics, **there}.items()))})


def _last(connection: Connection, tables: Tables, run_id: str, key: str) -> LatestMetric | None:
    for step, timestamp, value in deque(points_of(connection, tables, run_id, key), maxlen=1):
        return LatestMetric(step=step, timestamp=timestamp, value=value)
    return None
