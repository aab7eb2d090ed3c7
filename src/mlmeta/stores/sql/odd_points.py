"""Metric histories with odd points, read one value at a time: such as a fraction in a timestamp, or a text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.errors import IncompatibleStoreError
from mlmeta.schema import MetricHistory, Point, Run, canonical, to_records
from mlmeta.schema.metrics import POINTS_PER_RECORD
from mlmeta.stores.sql.database_tables import Tables, whole
from mlmeta.stores.sql.oddities import decoded, is_text, shown, whole_number
from mlmeta.stores.sql.queries import any_text, batches, rows_of

KIND = "metric history"


class OddPointsError(IncompatibleStoreError):
    """Columns of a history hold something else than numbers."""

    def __init__(self) -> None:
        super().__init__(
            "the table metrics holds NULL where MLflow has numbers",
            hint="complete or delete those rows: MLflow did not write them",
        )


def is_plain(step: list[Any], timestamp: list[Any], value: list[Any], nan: list[Any]) -> bool:
    """Whether columns hold what they should: whole numbers, floats and flags. Sums and counts tell, at C's speed."""
    try:
        whole_numbers = type(sum(step)) is int and type(sum(timestamp)) is int
        return whole_numbers and type(sum(value)) is float and nan.count(0) + nan.count(1) == len(nan)
    except TypeError:
        return False


def has_odd_points(connection: Connection, tables: Tables, run_id: str) -> bool:
    """Whether a run has any: for one with so many points that they can't be looked at before the first is written."""
    if connection.dialect.name != "sqlite":  # columns have types there
        return False
    table = tables["metrics"].c
    step, nan = tables.column("metrics", "step"), tables.column("metrics", "is_nan")
    odd = sa.or_(
        sa.func.typeof(table.key) != "text",
        sa.func.typeof(step) != "integer",
        sa.func.typeof(table.timestamp) != "integer",
        sa.func.typeof(table.value) != "real",
        nan.is_(None),
        nan.not_in((0, 1)),
    )
    query = sa.select(table.run_uuid).where(table.run_uuid == run_id, odd).limit(1)
    return connection.execute(query).first() is not None


def is_latest(run: Run, key: str, point: Point) -> bool:
    """Whether a point is the latest one that the run has of this metric."""
    latest = run.metrics.get(key)
    if latest is None or (latest.step, latest.timestamp) != point[:2]:
        return False
    return latest.value == point[2] or (math.isnan(point[2]) and math.isnan(latest.value))


def odd_histories(connection: Connection, tables: Tables, run: Run) -> Iterator[MetricHistory]:
    """The histories of a run that are more than a latest metric, by key; what can't be saved is named."""
    for key in _keys(connection, tables, run.run_id):
        points = points_of(connection, tables, run.run_id, key, named=True)
        first = next(batches(points, 2), [])
        if len(first) > 1 or (first and not is_latest(run, decoded(key), first[0])):
            for part in batches(chain(first, points), POINTS_PER_RECORD):
                yield from to_records(run.run_id, decoded(key), part)


def _keys(connection: Connection, tables: Tables, run_id: str) -> list[Any]:
    """The names of a run's metrics in order."""
    table = tables["metrics"].c
    query = sa.select(table.key).where(table.run_uuid == run_id).distinct()
    keys = []
    for (key,) in rows_of(connection, query):
        if not is_text(key):
            tables.oddities.lost(KIND, f"{run_id}/{decoded(key)}", "its name is not text, and it was not saved")
        else:
            keys.append(key)
    return sorted(keys, key=decoded)


def points_of(connection: Connection, tables: Tables, run_id: str, key: Any, *, named: bool = False) -> Iterator[Point]:
    """The points of a metric as whole numbers, in order, identical ones once.

    Args:
        connection: in a transaction.
        tables: of that database.
        run_id: of the run.
        key: of the metric, as the database has it.
        named: whether odd ones are told.
    """
    table, dialect = tables["metrics"].c, connection.dialect.name
    columns = tables.columns("metrics", "step", "timestamp", "value", "is_nan")
    query = sa.select(*columns).where(table.run_uuid == run_id, table.key == key)
    query = query.order_by(whole(tables.column("metrics", "step"), dialect))
    with any_text(connection):
        rows = connection.execute(query)
    points = _whole(_rows(connection, rows), tables, f"{run_id}/{decoded(key)}", named=named)
    for _, group in groupby(points, key=itemgetter(0)):
        yield from canonical(group)


def _rows(connection: Connection, result: sa.CursorResult[Any]) -> Iterator[Any]:
    while True:
        with any_text(connection):
            rows = result.fetchmany(POINTS_PER_RECORD)
        if not rows:
            return
        yield from rows


def _whole(rows: Iterable[Any], tables: Tables, name: str, *, named: bool) -> Iterator[Point]:
    lost = changed = 0
    example = ""
    for row in rows:
        point = _point(*row)
        if point is None:
            lost, example = lost + 1, example or ", ".join(map(shown, row[:3]))
            continue
        changed += point[:2] != (row[0], row[1])
        yield point
    if lost and named:
        what = f"{lost:,} of its points lack a number as step, timestamp or value ({example}), and were not saved"
        tables.oddities.lost(KIND, name, what)
    if changed and named:
        tables.oddities.changed(
            KIND, name, f"fractions of steps or milliseconds were cut off in {changed:,} of its points"
        )


def _point(step: Any, timestamp: Any, value: Any, nan: Any) -> Point | None:
    step, timestamp, number = whole_number(step), whole_number(timestamp), math.nan if nan else _number(value)
    return None if step is None or timestamp is None or number is None else (step, timestamp, number)


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)  # a text too: SQLite keeps `nan` and `inf` as that
    except ValueError:
        return None
