"""Metric histories, read from MLflow's `metrics` table: the bulk of most stores, so kept off Python's slow paths.

The points of each run and key are counted first, from the index alone. Then only the four columns of the points
are read, in order, and cut by those counts into columns: no Python code runs for a single point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import MetricHistory, Run
from mlmeta.schema.metrics import POINTS_PER_RECORD, canonical, to_records
from mlmeta.tracking.sql.tables import Tables, by_bytes

POINTS_AT_ONCE = 50_000
"""Points that one query reads, unless a single run has more."""

_NAN = float("nan")
Counts = dict[str, list[tuple[str, int]]]
"""The number of points by key, in the order of keys, of each run."""


def with_histories(connection: Connection, tables: Tables, runs: Sequence[Run]) -> Iterator[Run | MetricHistory]:
    """Each of a batch of runs, followed by those of its histories that are more than a latest metric.

    Args:
        connection: in a transaction.
        tables: of that database.
        runs: at most `BATCH` of them.
    """
    counts = _counts(connection, tables, [run.run_id for run in runs])
    for chunk in _chunks(runs, counts):
        if len(chunk) == 1:  # may be any number of points: never all in memory
            yield chunk[0]
            yield from _histories(connection, tables, chunk, counts)
            continue
        histories: dict[str, list[MetricHistory]] = {}
        for history in _histories(connection, tables, chunk, counts):
            histories.setdefault(history.run_id, []).append(history)
        for run in chunk:
            yield run
            yield from histories.get(run.run_id, ())


def _counts(connection: Connection, tables: Tables, ids: Sequence[str]) -> Counts:
    table, dialect = tables["metrics"], connection.dialect.name
    query = (
        sa.select(table.c.run_uuid, table.c.key, sa.func.count())
        .where(table.c.run_uuid.in_(ids))
        .group_by(table.c.run_uuid, table.c.key)
        .order_by(by_bytes(table.c.run_uuid, dialect), by_bytes(table.c.key, dialect))
    )
    counts: Counts = {}
    for run_id, key, count in connection.execute(query):
        counts.setdefault(run_id, []).append((key, count))
    return counts


def _chunks(runs: Iterable[Run], counts: Counts) -> Iterator[list[Run]]:
    """Consecutive runs with at most `POINTS_AT_ONCE` points together, or a single one with more."""
    chunk: list[Run] = []
    points = 0
    for run in runs:
        own = sum(count for _, count in counts.get(run.run_id, ()))
        if chunk and points + own > POINTS_AT_ONCE:
            yield chunk
            chunk, points = [], 0
        chunk.append(run)
        points += own
    if chunk:
        yield chunk


def _histories(connection: Connection, tables: Tables, runs: Sequence[Run], counts: Counts) -> Iterator[MetricHistory]:
    """The histories of a chunk of runs, by run id and key."""
    wanted = {run.run_id: run for run in runs if run.run_id in counts}
    if not wanted:
        return
    rows = _points(connection, tables, sorted(wanted))
    for run_id in sorted(wanted):
        for key, count in counts[run_id]:
            yield from _history(wanted[run_id], key, count, rows)


def _points(connection: Connection, tables: Tables, ids: Sequence[str]) -> Iterator[Any]:
    """Step, timestamp, value and `is_nan` of all points, by run id, key and `point_order`."""
    table, dialect = tables["metrics"].c, connection.dialect.name
    query = (
        sa.select(table.step, table.timestamp, table.value, table.is_nan)
        .where(table.run_uuid.in_(ids))
        .order_by(
            by_bytes(table.run_uuid, dialect),
            by_bytes(table.key, dialect),
            table.step,
            table.timestamp,
            table.is_nan,
            table.value,
        )
    )
    if dialect == "sqlite":
        yield from cast(
            "Iterator[Any]", connection.execute(query).cursor
        )  # plain tuples, no SQLAlchemy row for each point
        return
    options = {"stream_results": True, "max_row_buffer": POINTS_PER_RECORD} if dialect == "postgresql" else {}
    for rows in connection.execute(query, execution_options=options).partitions(POINTS_PER_RECORD):
        yield from rows


def _history(run: Run, key: str, count: int, rows: Iterator[Any]) -> Iterator[MetricHistory]:
    """Take the `count` points of one history from `rows`."""
    for start in range(0, count, POINTS_PER_RECORD):
        points = islice(rows, min(POINTS_PER_RECORD, count - start))
        step, timestamp, value, nan = (list(column) for column in zip(*points, strict=True))
        if count == 1 and _is_latest(run, key, (step[0], timestamp[0], value[0], nan[0])):
            return
        if any(nan):
            value = [_NAN if flag else number for number, flag in zip(value, nan, strict=True)]
            yield from to_records(run.run_id, key, canonical(zip(step, timestamp, value, strict=True)))
        else:
            yield MetricHistory.model_construct(run_id=run.run_id, key=key, step=step, timestamp=timestamp, value=value)


def _is_latest(run: Run, key: str, point: tuple[int, int, float, bool]) -> bool:
    step, timestamp, value, nan = point
    latest = run.metrics.get(key)
    if latest is None or (latest.step, latest.timestamp) != (step, timestamp):
        return False
    return latest.value == value or bool(nan and math.isnan(latest.value))
