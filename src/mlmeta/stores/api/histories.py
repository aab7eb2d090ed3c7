"""Metric histories through the API, in bulk where the server has the endpoint for it.

The endpoint ``GET /ajax-api/2.0/mlflow/metrics/get-history-bulk`` gives one metric of up to 100 runs and cuts its
reply at 25,000 points without saying so (MLflow 2.0 to 3.17, `server/handlers.py`): a reply of that size is never
taken for whole, but asked for again in halves, and for a single run page by page. It is no documented part of the API:
it is used only where it gives for a sample what `get_metric_history` gives.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from operator import index, itemgetter
from typing import Any

from mlmeta.errors import ReplyError
from mlmeta.schema import METRICS, LatestMetric, MetricHistory, Point, Run, Skipped, canonical, point_order, to_records
from mlmeta.stores.api.bounded import json_object
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.pace import RETRIED, Pace
from mlmeta.stores.api.paging import entities_of
from mlmeta.stores.base import ENDED, Base
from mlmeta.stores.source import SourceItem

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
BULK_RUNS = 100
BULK_POINTS = 25_000
_TIMEOUT = 120
_BATCH_POINTS = 20_000
"""Points of a request: fewer than those at which a server cuts its reply, as their number is a guess."""
_SINGLE_RUNS = 10
"""Runs of a batch that are read one after the other."""
_SAMPLE_RUNS = 3
_SAMPLE_POINTS = 2_000
"""Histories that are expected to be longer are not sampled: reading them one by one takes too long."""

Histories = dict[str, list[Point] | Skipped]
"""What came of a batch by run id: the points, or what can't be read."""


@dataclass(frozen=True)
class HistoryBatch:
    """One request: one metric of some runs."""

    key: str
    run_ids: tuple[str, ...]


def expected(step: int | None) -> int:
    """A guess at the number of points of a metric whose latest step is `step`: steps usually count up from 0."""
    return min(max(step or 0, 0) + 1, BULK_POINTS)


def read_bulk(connection: Connection, pace: Pace, batch: HistoryBatch) -> Histories:
    """The histories of a batch through the bulk endpoint.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    try:
        points = _bulk_points(connection, pace, batch)
        if len(points) < BULK_POINTS:
            found = _by_run(batch, points)
            connection.succeeded()
            return found
    except unreadable():  # of which run, the single calls will tell
        return read_singly(connection, batch)
    return _in_halves(connection, pace, batch)


def _bulk_points(connection: Connection, pace: Pace, batch: HistoryBatch) -> list[dict[str, Any]]:
    params = {"run_id": list(batch.run_ids), "metric_key": batch.key}
    response = pace.ask(lambda: connection.request("GET", BULK, timeout=_TIMEOUT, params=params, retry_codes=RETRIED))
    if response.status_code != HTTPStatus.OK:
        raise ReplyError(f"it answers {response.status_code}")
    points: list[dict[str, Any]] = (json_object(response) or {})["metrics"]
    return points


def _by_run(batch: HistoryBatch, points: Iterable[dict[str, Any]]) -> Histories:
    found: dict[str, list[Point]] = {run_id: [] for run_id in batch.run_ids}
    for p in points:
        found[p["run_id"]].append((index(p["step"]), index(p["timestamp"]), float(p["value"])))
    return {**found}


def _in_halves(connection: Connection, pace: Pace, batch: HistoryBatch) -> Histories:
    half = len(batch.run_ids) // 2
    if not half:
        return read_singly(connection, batch)
    parts = batch.run_ids[:half], batch.run_ids[half:]
    first, second = (read_bulk(connection, pace, HistoryBatch(batch.key, run_ids)) for run_ids in parts)
    return first | second


def read_singly(connection: Connection, batch: HistoryBatch) -> Histories:
    """The histories of a batch, one run after the other, page by page.

    Requests of MLflow's client wait by themselves where a server is busy.

    Raises:
        ConnectionFailedError: the server is gone.
    """
    return {
        run_id: connection.read_or_skip(
            METRICS.one, f"{run_id}/{batch.key}", partial(_history, connection, run_id, batch.key), asks=True
        )
        for run_id in batch.run_ids
    }


def _history(connection: Connection, run_id: str, key: str) -> list[Point]:
    """Page by page, as `MlflowClient.get_metric_history` does, but not for ever."""

    def ask(token: str | None) -> Any:
        return connection.tracking.get_metric_history(run_id, key, max_results=BULK_POINTS, page_token=token)

    if connection.kind == "files":
        points = FileStore(connection).history(run_id, key)
    else:
        points = list(map(_point, entities_of(ask, key=_point)))
    connection.succeeded()
    return points


def _point(metric: Any) -> Point:
    return index(metric.step), index(metric.timestamp), float(metric.value)


class BulkEndpoint:
    """The bulk endpoint of a store: whether it is there, and can be trusted.

    Args:
        connection: to the store.
        pace: of the requests.
        threads: for the requests.
    """

    def __init__(self, connection: Connection, pace: Pace, threads: Executor) -> None:
        self._kind = connection.kind
        self._pace = pace
        self._threads = threads
        self._exists: bool | None = None if connection.kind == "server" else False
        self._is_trusted = True

    def serves(self, runs: list[Run], connection: Connection) -> bool:
        """Whether histories can be read through it, as some runs that have metrics show it.

        Args:
            runs: the first of a workspace.
            connection: to the store, for calls that are about that workspace.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        if self._exists is None:
            self._exists = self._threads.submit(self._is_there, connection, runs[0]).result()
        if self._exists and self._is_trusted:
            self._is_trusted = all(self._threads.map(partial(self._agrees, connection), _sample(runs)))
        return self._exists and self._is_trusted

    def _is_there(self, connection: Connection, run: Run) -> bool:
        """Whether the server has it, and lets us use it; where it knows users, it refuses a run that does not exist."""
        params = {"run_id": [run.run_id], "metric_key": next(iter(run.metrics))}
        try:
            response = connection.request("GET", BULK, timeout=_TIMEOUT, params=params)
        except unreadable() as error:
            connection.failed(error)
            return False
        return response.status_code == HTTPStatus.OK and "metrics" in (json_object(response) or {})

    def _agrees(self, connection: Connection, batch: HistoryBatch) -> bool:
        """Whether it gives the points of a single run that `get_metric_history` gives.

        Others may add points meanwhile: so what is read singly before must be in the bulk reply, and that in what is
        read singly afterwards.
        """
        before = _texts(read_singly(connection, batch))
        bulk = _texts(read_bulk(connection, self._pace, batch))
        return bulk == before or before <= bulk <= _texts(read_singly(connection, batch))

    def warnings(self) -> list[str]:
        """What a person should know of the way in which histories were read."""
        found = []
        if self._exists is False and self._kind == "server":
            found.append("the server has no bulk endpoint for metric histories: each was read separately, slowly")
        if not self._is_trusted:
            found.append("the server's bulk endpoint returned other points than get_metric_history, so it was not used")
        return found


def _sample(runs: list[Run]) -> list[HistoryBatch]:
    """One metric each of the first, the middle and the last of some runs."""
    having = [(run.run_id, key) for run in runs if (key := _longest(run))]
    places = sorted({(len(having) - 1) * n // (_SAMPLE_RUNS - 1) for n in range(_SAMPLE_RUNS)}) if having else []
    return [HistoryBatch(key, (run_id,)) for run_id, key in (having[place] for place in places)]


def _longest(run: Run) -> str:
    """The metric that seems to have most points, of those that are not too long; empty: none."""
    likely = {key: expected(metric.step) for key, metric in run.metrics.items()}
    return max((key for key, points in likely.items() if points <= _SAMPLE_POINTS), key=likely.__getitem__, default="")


def _texts(found: Histories) -> set[str]:
    """The points of a batch's only run as text: NaN equals NaN."""
    (points,) = found.values()
    return set() if isinstance(points, Skipped) else set(map(repr, points))


@dataclass(frozen=True)
class RunToRead:
    """A run, and what of its histories has to be asked for.

    Args:
        run: as the search gave it.
        known: the metrics whose histories the base has.
        expected: of the others, a guess at the number of points.
        before: the run as the base has it, if its logged models are known from there.
    """

    run: Run
    known: set[str]
    expected: dict[str, int]
    before: Run | None = None


Asked = list[tuple[HistoryBatch, Future[Histories]]]
"""Batches under way."""


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
        known, before = self._known(run, self._base) if self._base is not None else (set(), None)
        to_ask = {key: expected(latest.step) for key, latest in run.metrics.items() if key not in known}
        return RunToRead(run, known, to_ask, before)

    @staticmethod
    def _known(run: Run, base: Base) -> tuple[set[str], Run | None]:
        """The metrics whose histories a base has, and the run as it has it, if that tells its logged models."""
        before = base.ended(run)
        if before is None:
            return set(), None
        return base.known_keys(run, before), before if base.knows_models(before) else None

    def begin(self, group: list[RunToRead]) -> Asked:
        """Ask for the histories of a group."""
        having = [run.run for run in group if run.expected]
        if having and self._in_bulk is None:
            self._in_bulk = self._bulk.serves(having, self._connection)
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
