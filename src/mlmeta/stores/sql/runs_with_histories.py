"""Runs followed by their metric histories, as many at once as memory allows.

The points of runs are counted first, from the index alone, so that runs can be read together without filling memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mlmeta.parallel import ordered_map, read_ahead
from mlmeta.schema import History, Run
from mlmeta.stores.sql.database_tables import Tables, among
from mlmeta.stores.sql.histories import point_counts, read_histories
from mlmeta.stores.sql.odd_points import OddPointsError, has_odd_points, odd_histories
from mlmeta.stores.sql.parallel_reads import Lanes
from mlmeta.stores.sql.unchanged import Known, unchanged

POINTS_AT_ONCE = 50_000
"""Points that one query reads, unless a single run has more."""

Records = Sequence[Run | History]
"""Consecutive records, with at most `POINTS_AT_ONCE` points together."""


def with_histories(
    connection: Connection, tables: Tables, runs: Sequence[Run], known: Known | None = None, *, lines: bool = False
) -> Iterator[Records]:
    """Each of a batch of runs, followed by those of its histories that are more than a latest metric.

    Args:
        connection: in a transaction.
        tables: of that database.
        runs: at most `BATCH` of them.
        known: has histories that need not be read where the points of each key are as many as there.
        lines: whether histories may come as `HistoryLine`, where that is faster.
    """
    for chunk in _chunks(connection, tables, runs):
        yield from _read(connection, tables, chunk, known, lines=lines)


def side_by_side(
    connection: Connection, lanes: Lanes, tables: Tables, batches: Iterable[Sequence[Run]]
) -> Iterator[Records]:
    """Like `with_histories` for many batches, with all lanes reading at once; histories may come as `HistoryLine`.

    Args:
        connection: that the batches come from; used in a thread of its own until the last one.
        lanes: for the histories.
        tables: of that database.
        batches: of at most `BATCH` runs.
    """
    tables["metrics"]  # looked up now, not by several threads

    def read(chunk: _Chunk) -> Iterable[Records]:
        found = streamed(chunk)
        return found if chunk.points > POINTS_AT_ONCE else list(found)  # any number of points: never all in memory

    def streamed(chunk: _Chunk) -> Iterator[Records]:
        with lanes.lane() as lane:
            yield from _read(lane, tables, chunk, None, lines=True)

    chunks = (list(_chunks(connection, tables, runs)) for runs in batches)
    with (
        closing(read_ahead(chunks, 1)) as ahead,  # a batch: less, and the lanes would wait for each
        ThreadPoolExecutor(lanes.count, thread_name_prefix="mlmeta-lane") as executor,
        closing(ordered_map(executor, read, chain.from_iterable(ahead), ahead=lanes.count + 1)) as found,
    ):
        yield from chain.from_iterable(found)


@dataclass
class _Chunk:
    """Consecutive runs with at most `POINTS_AT_ONCE` points together, or a single one with more.

    Args:
        runs: all of them.
        having: those that have points, by id.
        points: of all of them.
    """

    runs: list[Run] = field(default_factory=list)
    having: dict[str, Run] = field(default_factory=dict)
    points: int = 0


def _chunks(connection: Connection, tables: Tables, runs: Sequence[Run]) -> Iterator[_Chunk]:
    sizes = _sizes(connection, tables, [run.run_id for run in runs])
    chunk = _Chunk()
    for run in runs:
        own = sizes.get(run.run_id, 0)
        if chunk.runs and chunk.points + own > POINTS_AT_ONCE:
            yield chunk
            chunk = _Chunk()
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


def _read(
    connection: Connection, tables: Tables, chunk: _Chunk, known: Known | None, *, lines: bool
) -> Iterator[Records]:
    if len(chunk.runs) == 1 and chunk.points > POINTS_AT_ONCE:
        yield chunk.runs
        yield from ([history] for history in _streamed(connection, tables, chunk.having, lines=lines))
        return
    histories: dict[str, list[History]] = {}
    if known is not None and chunk.having:
        for run_id, same in unchanged(known, chunk.having, point_counts(connection, tables, list(chunk.having))):
            histories[run_id] = [*same]
    changed = {run_id: run for run_id, run in chunk.having.items() if run_id not in histories}
    for history in _gathered(connection, tables, changed, lines=lines):
        histories.setdefault(history.run_id, []).append(history)
    yield [record for run in chunk.runs for record in (run, *histories.get(run.run_id, ()))]


def _gathered(connection: Connection, tables: Tables, runs: dict[str, Run], *, lines: bool) -> Iterable[History]:
    """The histories of runs that memory holds: where there are odd points, each run is read by itself."""
    try:
        return list(read_histories(connection, tables, runs, lines=lines))
    except OddPointsError:
        if len(runs) == 1:
            return list(odd_histories(connection, tables, *runs.values()))
    return chain.from_iterable(
        _gathered(connection, tables, {run_id: run}, lines=lines) for run_id, run in runs.items()
    )


def _streamed(connection: Connection, tables: Tables, having: dict[str, Run], *, lines: bool) -> Iterator[History]:
    """The histories of a run that memory does not hold: odd points have to be found before the first is written."""
    (run,) = having.values()
    if has_odd_points(connection, tables, run.run_id):
        return odd_histories(connection, tables, run)
    return read_histories(connection, tables, having, lines=lines)
