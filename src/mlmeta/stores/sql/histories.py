"""Runs followed by their metric histories, as many at once as memory allows.

Histories are the bulk of most stores, so they are kept off Python's slow paths. The points of runs are counted first,
from the index alone, so that runs can be read together without filling memory. Then the points of each run and key are
counted, and only their four columns are read, in order, and cut by those counts into columns: no Python code runs for a
single point. PostgreSQL makes the columns itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.schema import History, HistoryLine, MetricHistory, Run, same_point
from mlmeta.schema.metrics import POINTS_PER_RECORD, canonical, to_records
from mlmeta.stores.base import Base
from mlmeta.stores.sql.database_tables import Tables, among, by_bytes
from mlmeta.stores.sql.odd_points import OddPointsError, has_odd_points, is_latest, is_plain, odd_histories
from mlmeta.stores.sql.postgres import history_columns
from mlmeta.stores.sql.queries import DECODING_ERRORS, is_undecodable, rows_of

POINTS_AT_ONCE = 50_000
"""Points that one query reads, unless a single run has more."""

_NAN = float("nan")


@dataclass(frozen=True)
class HistoryBatch:
    """Consecutive records, with at most `POINTS_AT_ONCE` points together.

    Args:
        records: runs, each followed by its histories; or histories that continue those of the batch before.
        runs: how many of them.
        points: how many in the histories.
    """

    records: Sequence[Run | History]
    runs: int = 0
    points: int = 0

    def __iter__(self) -> Iterator[Run | History]:
        return iter(self.records)


def read_histories(
    connection: Connection, tables: Tables, runs: Sequence[Run], base: Base | None = None
) -> Iterator[HistoryBatch]:
    """Each of a batch of runs, followed by those of its histories that are more than a latest metric.

    Args:
        connection: in a transaction.
        tables: of that database.
        runs: at most `BATCH` of them.
        base: has histories that need not be read where the points of each key are as many as there.
    """
    for chunk in chunks_of(connection, tables, runs):
        yield from read_chunk(connection, tables, chunk, base)


@dataclass
class Chunk:
    """Consecutive runs with at most `POINTS_AT_ONCE` points together, or a single one with more.

    Args:
        runs: all of them.
        having: those that have points, by id.
        points: of all of them.
    """

    runs: list[Run] = field(default_factory=list)
    having: dict[str, Run] = field(default_factory=dict)
    points: int = 0


def chunks_of(connection: Connection, tables: Tables, runs: Sequence[Run]) -> Iterator[Chunk]:
    """Runs in chunks whose histories memory holds, by the number of their points."""
    sizes = _sizes(connection, tables, [run.run_id for run in runs])
    chunk = Chunk()
    for run in runs:
        own = sizes.get(run.run_id, 0)
        if chunk.runs and chunk.points + own > POINTS_AT_ONCE:
            yield chunk
            chunk = Chunk()
        chunk.runs.append(run)
        chunk.points += own
        if own:
            chunk.having[run.run_id] = run
    if chunk.runs:
        yield chunk


def _sizes(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, int]:
    """The number of points of each run that has any."""
    table = tables["metrics"].c
    query = sa.select(table.run_uuid, sa.func.count()).group_by(table.run_uuid)
    query = query.where(among(table.run_uuid, ids, connection.dialect.name))
    return {row[0]: row[1] for row in connection.execute(query)}


def read_chunk(
    connection: Connection, tables: Tables, chunk: Chunk, base: Base | None = None
) -> Iterator[HistoryBatch]:
    """The runs of a chunk with their histories: at once, or as a stream where it is a single run with many points."""
    if len(chunk.runs) == 1 and chunk.points > POINTS_AT_ONCE:
        yield HistoryBatch(chunk.runs, runs=1)
        for history in _streamed(connection, tables, chunk.having):
            yield HistoryBatch([history], points=history.size)
        return
    histories: dict[str, list[History]] = {}
    if base is not None and chunk.having:
        for run_id, same in _unchanged(base, chunk.having, _counts(connection, tables, list(chunk.having))):
            histories[run_id] = [*same]
    changed = {run_id: run for run_id, run in chunk.having.items() if run_id not in histories}
    for history in _gathered(connection, tables, changed):
        histories.setdefault(history.run_id, []).append(history)
    records = [record for run in chunk.runs for record in (run, *histories.get(run.run_id, ()))]
    yield HistoryBatch(records, len(chunk.runs), sum(history.size for found in histories.values() for history in found))


def _streamed(connection: Connection, tables: Tables, having: dict[str, Run]) -> Iterator[History]:
    """The histories of a run that memory does not hold: odd points have to be found before the first is written."""
    (run,) = having.values()
    if has_odd_points(connection, tables, run.run_id):
        return odd_histories(connection, tables, run)
    return _plain_histories(connection, tables, having)


def _gathered(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterable[History]:
    """The histories of runs that memory holds: where there are odd points, each run is read by itself."""
    try:
        return list(_plain_histories(connection, tables, runs))
    except OddPointsError:
        if len(runs) == 1:
            return list(odd_histories(connection, tables, *runs.values()))
    return chain.from_iterable(_gathered(connection, tables, {run_id: run}) for run_id, run in runs.items())


def _unchanged(
    base: Base, runs: dict[str, Run], counts: Iterable[tuple[str, str, int]]
) -> Iterator[tuple[str, list[HistoryLine]]]:
    """Those runs of which no history has changed, by id, with their histories.

    MLflow only ever adds points to a history, or removes it as a whole: as many points with the same latest one are the
    same points.
    """
    now: dict[str, dict[str, int]] = {run_id: {} for run_id in runs}
    for run_id, key, count in counts:
        now[run_id][key] = count
    for run_id, run in runs.items():
        before = base.run(run)
        if before is not None:
            lines = list(base.lines(run))
            if _same_latest(before, run) and _counts_in(before, lines) == now[run_id]:
                yield run_id, lines


def _same_latest(before: Run, now: Run) -> bool:
    return before.metrics.keys() == now.metrics.keys() and all(
        same_point(metric, now.metrics[key]) for key, metric in before.metrics.items()
    )


def _counts_in(before: Run, lines: Iterable[HistoryLine]) -> dict[str, int]:
    """The number of points of each metric of a run, as a snapshot has it: a latest metric alone is one."""
    longer: Counter[str] = Counter()
    for line in lines:
        longer[line.key] += line.size
    return {**dict.fromkeys(before.metrics, 1), **longer}


def _plain_histories(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[History]:
    """The histories of runs that are more than a latest metric, by run id and key.

    Args:
        connection: in a transaction.
        tables: of that database.
        runs: those that have points, by id. A single one may have any number of them: they are streamed.

    Raises:
        OddPointsError: on the way: columns hold something else than numbers.
    """
    if not runs:
        return iter(())
    if connection.dialect.name != "postgresql" or len(runs) == 1:
        return _in_order(connection, tables, runs)
    return _from_columns(connection, tables, runs)


def _in_order(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[MetricHistory]:
    counts = _counts(connection, tables, list(runs))
    if not all(type(key) is str for _, key, _ in counts):
        raise OddPointsError
    try:
        rows = _points(connection, tables, list(runs))
        for run_id, key, count in counts:
            yield from _history(runs[run_id], key, count, rows)
    except DECODING_ERRORS as error:
        if not is_undecodable(error):
            raise
        raise OddPointsError from error


def _counts(connection: Connection, tables: Tables, ids: Sequence[str]) -> Sequence[Any]:
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


def _from_columns(connection: Connection, tables: Tables, runs: dict[str, Run]) -> Iterator[History]:
    """Like `_in_order`, where the database makes the columns: integers as text, to be written as they are."""
    for run_id, key, steps, timestamps, value in history_columns(connection, tables, list(runs)):
        if not len(value) == steps.count(",") + 1 == timestamps.count(",") + 1:  # NULLs, which leave nothing behind
            raise OddPointsError
        may_be_nan = math.isnan(sum(value))  # or infinities of both signs, for which the long way is right as well
        if may_be_nan or not 1 < len(value) <= POINTS_PER_RECORD:
            yield from _columns(runs[run_id], key, _integers(steps), _integers(timestamps), value)
        else:
            yield HistoryLine.of_columns(run_id, key, steps, timestamps, value)


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
