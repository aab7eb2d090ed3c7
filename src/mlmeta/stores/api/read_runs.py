"""Runs of experiments through the API, in order and without gaps, each followed by its metric histories."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from mlmeta.schema import RUNS, LatestMetric, MetricHistory, Point, Run, Skipped, canonical, point_order, to_records
from mlmeta.stores.api import entities as convert
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.histories import (
    BULK_RUNS,
    BulkEndpoint,
    Histories,
    HistoryBatch,
    expected,
    read_bulk,
    read_singly,
)
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import Search, Sieve
from mlmeta.stores.base import ENDED, Base
from mlmeta.stores.source import SourceItem

_PAGE = 1000
_EXPERIMENTS_AHEAD = 4
_GROUPS_AHEAD = 3
_GROUP_POINTS = 250_000
_GROUP_RUNS = 1_000
_BATCH_POINTS = 20_000
"""Points of a request: fewer than those at which a server cuts its reply, as their number is a guess."""
_SINGLE_RUNS = 10
"""Runs of a batch that are read one after the other."""


@dataclass(frozen=True)
class RunToRead:
    """A run, and what of its histories has to be asked for.

    Args:
        run: as the search gave it.
        known: the metrics whose histories the base has.
        expected: of the others, a guess at the number of points.
    """

    run: Run
    known: set[str]
    expected: dict[str, int]


Asked = list[tuple[HistoryBatch, Future[Histories]]]
"""Batches under way."""


class RunReader:
    """All runs of some experiments, deleted ones included, each followed by its metric histories.

    Args:
        connection: to the store.
        histories: reads those.
        threads: for the searches.
    """

    def __init__(self, connection: Connection, histories: HistoryReader, threads: Executor) -> None:
        self._connection = connection
        self._histories = histories
        self._threads = threads
        self._sieve = Sieve(connection, RUNS, RUNS.one, convert.run)

    def read(self, experiment_ids: Iterable[str]) -> Iterator[SourceItem]:
        """The runs, experiment after experiment.

        The first page of several experiments is asked for ahead: most are small, and waiting adds up.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        begun: deque[Iterator[SourceItem]] = deque()
        for experiment_id in experiment_ids:
            begun.append(self._begin(experiment_id))
            if len(begun) > _EXPERIMENTS_AHEAD:
                yield from begun.popleft()
        while begun:
            yield from begun.popleft()

    def _begin(self, experiment_id: str) -> Iterator[SourceItem]:
        if self._connection.kind == "files":
            return self._with_histories(FileStore(self._connection).runs(experiment_id), [])
        search = Search(
            self._connection,
            RUNS.one,
            ask=partial(_ask, self._connection, experiment_id),
            key=lambda entity: entity.info.run_id,
            lost=lambda place: f"experiment {experiment_id}, {place}",
            size=_PAGE,
        )
        found = self._sieve.sift(search.ahead(self._threads), experiment_id)
        return self._with_histories(found, search.skipped)

    def _with_histories(self, items: Iterable[Run | Skipped], skipped: list[Skipped]) -> Iterator[SourceItem]:
        waiting: deque[tuple[list[RunToRead], Asked]] = deque()
        for group in _groups(map(self._histories.to_read, _runs(items, skipped))):
            waiting.append((group, self._histories.begin(group)))
            if len(waiting) > _GROUPS_AHEAD:
                yield from self._histories.finish(*waiting.popleft())
        while waiting:
            yield from self._histories.finish(*waiting.popleft())
        yield from skipped


def _ask(connection: Connection, experiment_id: str, token: str | None, size: int) -> Any:
    from mlflow.entities import ViewType

    return connection.client.search_runs(
        [experiment_id],
        run_view_type=ViewType.ALL,
        max_results=size,
        order_by=["attributes.start_time ASC"],
        page_token=token,
    )


def _runs(items: Iterable[Run | Skipped], skipped: list[Skipped]) -> Iterator[Run]:
    """The runs; all else goes into `skipped`."""
    for item in items:
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            yield item


def _groups(runs: Iterable[RunToRead]) -> Iterator[list[RunToRead]]:
    """Runs in groups that fit one round of requests, and memory."""
    group: list[RunToRead] = []
    asked = points = 0
    for run in runs:
        more = sum(run.expected.values())
        is_round = more > 0 and (asked == BULK_RUNS or points + more > _GROUP_POINTS)
        if group and (is_round or len(group) == _GROUP_RUNS):
            yield group
            group, asked, points = [], 0, 0
        group.append(run)
        if more:
            asked, points = asked + 1, points + more
    if group:
        yield group


class HistoryReader:
    """Reads the histories of groups of runs, several groups ahead of the caller.

    Args:
        connection: to the store.
        executor: for the requests.
        pace: of the requests.
        bulk: the endpoint for many histories at once.
        base: a snapshot whose histories need not be read again where nothing can have been added.
    """

    def __init__(
        self, connection: Connection, executor: Executor, pace: Pace, bulk: BulkEndpoint, base: Base | None = None
    ) -> None:
        self._connection = connection
        self._executor = executor
        self._pace = pace
        self._bulk = bulk
        self._base = base
        self._in_bulk: bool | None = None

    def to_read(self, run: Run) -> RunToRead:
        """What has to be read of a run. Runs come in a snapshot's order, each once."""
        known = self._base.ended_keys(run) if self._base is not None else set()
        return RunToRead(run, known, {k: expected(m.step) for k, m in run.metrics.items() if k not in known})

    def begin(self, group: list[RunToRead]) -> Asked:
        """Ask for the histories of a group."""
        having = [run.run for run in group if run.expected]
        if having and self._in_bulk is None:
            self._in_bulk = self._bulk.serves(having)
        if self._in_bulk:
            read, most_runs = partial(read_bulk, self._connection, self._pace), BULK_RUNS
        else:
            read, most_runs = partial(read_singly, self._connection), _SINGLE_RUNS
        return [(batch, self._executor.submit(read, batch)) for batch in _batches(group, most_runs)]

    def finish(self, group: list[RunToRead], asked: Asked) -> Iterator[SourceItem]:
        """The runs of a group, each with its histories, once the answers are there."""
        found: dict[tuple[str, str], list[Point] | Skipped] = {}
        for batch, future in asked:
            found.update({(run_id, batch.key): points for run_id, points in future.result().items()})
        for one in group:
            run = _settled(one.run, found)
            yield run
            items = ((key, item) for key in one.expected for item in _records(run, key, found.pop((run.run_id, key))))
            for _, item in self._with_known(one, items):
                yield item

    def _with_known(self, one: RunToRead, read: Iterator[tuple[str, SourceItem]]) -> Iterator[tuple[str, SourceItem]]:
        """The histories of a run that were read, and those that the base has, in the order of their keys."""
        if self._base is None or not one.known:
            return read
        known = ((line.key, line) for line in self._base.lines(one.run) if line.key in one.known)
        return heapq.merge(read, known, key=itemgetter(0))


def _batches(group: list[RunToRead], most_runs: int) -> Iterator[HistoryBatch]:
    """The requests for a group: for each metric the runs that have it, packed to stay under the server's cut."""
    having: dict[str, list[RunToRead]] = {}
    for run in group:
        for key in run.expected:
            having.setdefault(key, []).append(run)
    for key, runs in having.items():
        packed: list[str] = []
        points = 0
        for run in runs:
            more = run.expected[key]
            if packed and (len(packed) == most_runs or points + more > _BATCH_POINTS):
                yield HistoryBatch(key, tuple(packed))
                packed, points = [], 0
            packed.append(run.run.run_id)
            points += more
        yield HistoryBatch(key, tuple(packed))


def _settled(run: Run, found: Mapping[tuple[str, str], list[Point] | Skipped]) -> Run:
    """A run with the latest metrics that its histories end with, as the server would have given it a moment later.

    It may be written while it is read: its latest metrics are from before its histories. Only of a run that had not
    ended: what the server says of others stays, whatever it is.
    """
    if run.status in ENDED:
        return run
    newer = {}
    for key, latest in run.metrics.items():
        points = found.get((run.run_id, key), ())
        last = max(() if isinstance(points, Skipped) else points, key=point_order, default=None)
        if last is not None and last[:2] > (latest.step or 0, latest.timestamp or 0):
            newer[key] = LatestMetric(value=last[2], step=last[0], timestamp=last[1])
    return run.model_copy(update={"metrics": {**run.metrics, **newer}}) if newer else run


def _records(run: Run, key: str, points: list[Point] | Skipped) -> Iterator[MetricHistory | Skipped]:
    """Records for a metric's points; none where the run's latest metric says it all."""
    if isinstance(points, Skipped):
        yield points
        return
    ordered = canonical(points)
    latest = run.metrics[key]
    if len(ordered) == 1 and point_order(ordered[0]) == point_order(
        (latest.step or 0, latest.timestamp or 0, latest.value)
    ):
        return
    yield from to_records(run.run_id, key, ordered)
