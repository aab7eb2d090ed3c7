"""Metric histories, read from MLflow's `metrics` table: the bulk of most stores, so kept off Python's slow paths.

The points of each run and key are counted, and only their four columns are read, in order, and cut by those counts
into columns: no Python code runs for a single point. PostgreSQL makes the columns itself.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from mlmeta.schema import History, HistoryLine, MetricHistory, Run
from mlmeta.schema.metrics import POINTS_PER_RECORD, canonical, to_records
from mlmeta.stores.sql.database_tables import Tables, among, by_bytes
from mlmeta.stores.sql.odd_points import OddPointsError, is_latest, is_plain
from mlmeta.stores.sql.postgres import history_columns, history_texts
from mlmeta.stores.sql.queries import UNDECODABLE, rows_of

_NAN = float("nan")


def read_histories(connection: Connection, tables: Tables, runs: dict[str, Run], *, lines: bool) -> Iterator[History]:
    """The histories of runs that are more than a latest metric, by run id and key.

    Args:
        connection: in a transaction.
        tables: of that database.
        runs: those that have points, by id. A single one may have any number of them: they are streamed.
        lines: whether histories may come as `HistoryLine`, where that is faster.

    Raises:
        OddPointsError: on the way: columns hold something else than numbers.
    """
    if not runs:
        return iter(())
    if connection.dialect.name != "postgresql" or len(runs) == 1:
        return _in_order(connection, tables, runs)
    return (_from_texts if lines else _from_columns)(connection, tables, runs)


def _in_order(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[MetricHistory]:
    counts = point_counts(connection, tables, list(runs))
    if not all(type(key) is str for _, key, _ in counts):
        raise OddPointsError
    try:
        rows = _points(connection, tables, list(runs))
        for run_id, key, count in counts:
            yield from _history(runs[run_id], key, count, rows)
    except (sqlite3.OperationalError, OperationalError) as error:
        if UNDECODABLE not in str(error):
            raise
        raise OddPointsError from error


def point_counts(connection: Connection, tables: Tables, ids: Sequence[str]) -> Sequence[Any]:
    """Run id, key and the number of points of each history, in order."""
    table, dialect = tables["metrics"].c, connection.dialect.name
    query = sa.select(table.run_uuid, table.key, sa.func.count()).where(among(table.run_uuid, ids, dialect))
    query = query.group_by(table.run_uuid, table.key)
    return rows_of(connection, query.order_by(by_bytes(table.run_uuid, dialect), by_bytes(table.key, dialect)))


def _points(connection: Connection, tables: Tables, ids: Sequence[str]) -> Iterator[Any]:
    """Step, timestamp, value and `is_nan` of all points, by run id, key and `point_order`."""
    table, dialect = tables["metrics"].c, connection.dialect.name
    step, nan = tables.column("metrics", "step"), tables.column("metrics", "is_nan")
    query = (
        sa.select(step, table.timestamp, table.value, nan)
        .where(among(table.run_uuid, ids, dialect))
        .order_by(
            by_bytes(table.run_uuid, dialect), by_bytes(table.key, dialect), step, table.timestamp, nan, table.value
        )
    )
    if dialect == "sqlite":  # plain tuples, and neither a SQLAlchemy row nor a line of Python for each point
        cursor = cast("Iterator[Any]", connection.execute(query).cursor)
        return chain(cursor)  # which is not closed with the generator: it may be gone by then
    options = {"stream_results": True, "max_row_buffer": POINTS_PER_RECORD} if dialect == "postgresql" else {}
    return chain.from_iterable(connection.execute(query, execution_options=options).partitions(POINTS_PER_RECORD))


def _history(run: Run, key: str, count: int, rows: Iterator[Any]) -> Iterator[MetricHistory]:
    """Take the `count` points of one history from `rows`."""
    for start in range(0, count, POINTS_PER_RECORD):
        points = islice(rows, min(POINTS_PER_RECORD, count - start))
        step, timestamp, value, nan = (list(column) for column in zip(*points, strict=True))
        if not is_plain(step, timestamp, value, nan):
            raise OddPointsError
        if any(nan):
            value = [_NAN if flag else number for number, flag in zip(value, nan, strict=True)]
        if count > 1 or not is_latest(run, key, (step[0], timestamp[0], value[0])):
            yield from _records(run, key, step, timestamp, value)


def _from_columns(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[MetricHistory]:
    """Like `_in_order`, where the database itself makes the columns."""
    for run_id, key, step, timestamp, value in history_columns(connection, tables, list(runs)):
        if not len(step) == len(timestamp) == len(value):  # NULLs, which leave nothing behind
            raise OddPointsError
        yield from _columns(runs[run_id], key, step, timestamp, value)


def _from_texts(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[History]:
    """Like `_from_columns`, without taking the integers apart where nothing is left to do but to write them."""
    for run_id, key, steps, timestamps, value in history_texts(connection, tables, list(runs)):
        if not len(value) == steps.count(",") + 1 == timestamps.count(",") + 1:  # NULLs, which leave nothing behind
            raise OddPointsError
        if 1 < len(value) <= POINTS_PER_RECORD and not math.isnan(
            sum(value)
        ):  # of infinities: the long way is right too
            yield HistoryLine.of_columns(run_id, key, steps, timestamps, value)
        else:
            yield from _columns(runs[run_id], key, _integers(steps), _integers(timestamps), value)


def _integers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _columns(run: Run, key: str, step: list[int], timestamp: list[int], value: list[float]) -> Iterator[MetricHistory]:
    """The records of a whole history, in parts; none where the latest metric is all there is."""
    if len(step) > 1 or not is_latest(run, key, (step[0], timestamp[0], value[0])):
        for start in range(0, len(step), POINTS_PER_RECORD):
            part = slice(start, start + POINTS_PER_RECORD)
            yield from _records(run, key, step[part], timestamp[part], value[part])


def _records(run: Run, key: str, step: list[int], timestamp: list[int], value: list[float]) -> Iterator[MetricHistory]:
    """Points that the database put in order, but for those that are not a number."""
    if math.isnan(sum(value)) and any(map(math.isnan, value)):  # a sum is quicker to tell that there is none
        yield from to_records(run.run_id, key, canonical(zip(step, timestamp, value, strict=True)))
    else:
        yield MetricHistory.model_construct(run_id=run.run_id, key=key, step=step, timestamp=timestamp, value=value)
