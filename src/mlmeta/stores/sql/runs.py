"""Runs, with what no description of a table tells: latest metrics, and what they used and made."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import LatestMetric, Run
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.inputs import read_inputs
from mlmeta.stores.sql.mapping import KindTable, Values
from mlmeta.stores.sql.odd_points import points_of
from mlmeta.stores.sql.queries import rows_of
from mlmeta.stores.sql.reader import Parts, Reader
from mlmeta.stores.sql.tables import METRIC_COLUMNS, RUN_TABLE

_NAN = float("nan")


class RunReader(Reader[Run]):
    """Reads runs. As there are many, their own rows are read in order, not looked up by their ids."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        super().__init__(connection, tables, RUN_TABLE)

    def stream(self, experiments: Sequence[int] | None) -> Iterator[list[Run]]:
        """See `Reader.stream`."""
        for rows in self._in_order(RUN_TABLE.read_names, experiments):
            sound = set(self._sound(row[0] for row in rows))
            yield list(self._records([row for row in rows if row[0] in sound]))

    def _parts(self, keys: Sequence[Any]) -> Parts:
        inputs = read_inputs(self._connection, self._tables, keys)
        return {**super()._parts(keys), "metrics": _latest_metrics(self._connection, self._tables, keys), **inputs}

    def _record(self, table: KindTable[Any], row: Sequence[Any], parts: Values, name: str) -> Any:
        run = super()._record(table, row, parts, name)
        return run and _with_latest(self._connection, self._tables, run, parts["metrics"])


def _latest_metrics(
    connection: Connection, tables: Tables, ids: Sequence[str]
) -> Mapping[str, dict[str, dict[str, Any]]]:
    """The latest metrics of runs by id and key, as the database has them: values that pydantic makes records of."""
    query = _query if "latest_metrics" in tables else _from_histories
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    rows = rows_of(connection, query(connection, tables, ids))
    tables.read["latest_metrics"] += len(rows)
    for run_id, key, value, step, timestamp, nan in rows:
        found[run_id][key] = {"value": _NAN if nan else value, "step": step, "timestamp": timestamp}
    return found


def _query(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    table = tables["latest_metrics"]
    query = sa.select(*tables.columns("latest_metrics", *METRIC_COLUMNS))
    return query.where(among(table.c.run_uuid, ids, connection.dialect.name))


def _from_histories(connection: Connection, tables: Tables, ids: Sequence[str]) -> sa.Select[Any]:
    """As MLflow 1.2 filled its new table of latest metrics (its migration 89d4b8295536)."""
    run, key, value, step, timestamp, _ = (tables.column("metrics", name) for name in METRIC_COLUMNS)
    order = (step.desc(), timestamp.desc(), value.desc())
    place = sa.func.row_number().over(partition_by=(run, key), order_by=order).label("place")
    points = sa.select(*tables.columns("metrics", *METRIC_COLUMNS), place)
    found = points.where(among(run, ids, connection.dialect.name)).subquery()
    return sa.select(*(found.c[name] for name in METRIC_COLUMNS)).where(found.c.place == 1)


def _with_latest(connection: Connection, tables: Tables, run: Run, stored: Mapping[str, Any]) -> Run:
    """A run with latest metrics for all keys: from its histories where the stored ones were too odd to be kept."""
    if len(run.metrics) == len(stored):
        return run
    found = {key: _last(connection, tables, run.run_id, key) for key in stored if key not in run.metrics}
    there = {key: latest for key, latest in found.items() if latest is not None}
    return run.model_copy(update={"metrics": dict(sorted({**run.metrics, **there}.items()))})


def _last(connection: Connection, tables: Tables, run_id: str, key: str) -> LatestMetric | None:
    for step, timestamp, value in deque(points_of(connection, tables, run_id, key), maxlen=1):
        return LatestMetric(step=step, timestamp=timestamp, value=value)
    return None
