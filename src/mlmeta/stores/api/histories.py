"""Metric histories through the API, in bulk where the server has the endpoint for it.

The endpoint ``GET /ajax-api/2.0/mlflow/metrics/get-history-bulk`` gives one metric of up to 100 runs and cuts its
reply at 25,000 points without saying so (MLflow 2.0 to 3.17, `server/handlers.py`): a reply of that size is never
taken for whole, but asked for again in halves, and for a single run page by page.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import index
from typing import TYPE_CHECKING, Any

from mlmeta.schema import History, HistoryLine, MetricHistory, Point, Run, Skipped, canonical, point_order, to_records
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import pages
from mlmeta.stores.api.settled import settled
from mlmeta.stores.base import Base

if TYPE_CHECKING:
    from requests import Response

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
BULK_RUNS = 100
BULK_POINTS = 25_000
_TIMEOUT = 120
_RETRIED = (408, 500, 502, 504)
"""Statuses that the client tries again by itself; those of a busy server are `Pace`'s."""
_PACK_POINTS = 20_000
_GROUP_POINTS = 250_000
_GROUP_RUNS = 1_000

Histories = dict[str, list[Point]]
"""Points by run id."""

Asked = list[tuple["Batch", Future["BatchResult"]]]
"""Batches under way."""


@dataclass(frozen=True)
class Batch:
    """One request: one metric of some runs."""

    key: str
    run_ids: tuple[str, ...]


@dataclass
class BatchResult:
    """What came of a batch: points by run, and what could not be read, with the reason."""

    histories: Histories = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def has_bulk(connection: Connection, run: Run) -> bool:
    """Whether the server has the bulk endpoint, and lets us use it.

    Args:
        connection: to the server.
        run: that has a metric: with authentication on, a run that does not exist is refused.
    """
    params = {"run_id": [run.run_id], "metric_key": next(iter(run.metrics))}
    try:
        response = connection.request("GET", BULK, timeout=_TIMEOUT, params=params)
    except unreadable() as error:
        connection.failed(error)
        return False
    return response.status_code == HTTPStatus.OK and "metrics" in _json(response)


def read_bulk(connection: Connection, pace: Pace, batch: Batch) -> BatchResult:
    """The histories of a batch through the bulk endpoint."""
    params = {"run_id": list(batch.run_ids), "metric_key": batch.key}
    try:
        response = pace.ask(
            lambda: connection.request("GET", BULK, timeout=_TIMEOUT, params=params, retry_codes=_RETRIED)
        )
        points = _json(response)["metrics"] if response.status_code == HTTPStatus.OK else None
        if points is not None and len(points) >= BULK_POINTS:
            return _split(connection, pace, batch)
        result = _by_run(batch, points or ()) if points is not None else read_singly(connection, pace, batch)
    except unreadable():  # of which run, the single calls will tell
        return read_singly(connection, pace, batch)
    connection.succeeded()
    return result


def _by_run(batch: Batch, points: Iterable[dict[str, Any]]) -> BatchResult:
    result = BatchResult({run_id: [] for run_id in batch.run_ids})
    for p in points:
        result.histories[p["run_id"]].append((index(p["step"]), index(p["timestamp"]), float(p["value"])))
    return result


def _split(connection: Connection, pace: Pace, batch: Batch) -> BatchResult:
    if len(batch.run_ids) == 1:
        return read_singly(connection, pace, batch)
    half = len(batch.run_ids) // 2
    result = read_bulk(connection, pace, Batch(batch.key, batch.run_ids[:half]))
    other = read_bulk(connection, pace, Batch(batch.key, batch.run_ids[half:]))
    result.histories.update(other.histories)
    result.failures.update(other.failures)
    return result


def read_singly(connection: Connection, pace: Pace, batch: Batch) -> BatchResult:
    """The histories of a batch, one run after the other, page by page.

    Raises:
        ConnectionFailedError: the server is gone; otherwise a run's failure is only noted.
    """
    del pace  # requests of MLflow's client wait by themselves where a server is busy
    result = BatchResult()
    for run_id in batch.run_ids:
        try:
            result.histories[run_id] = _history(connection, run_id, batch.key)
            connection.succeeded()
        except unreadable() as error:
            result.failures[run_id] = connection.failed(error)
    return result


def _history(connection: Connection, run_id: str, key: str) -> list[Point]:
    """Page by page, as `MlflowClient.get_metric_history` does, but not for ever."""
    if connection.kind == "files":
        return FileStore(connection).history(run_id, key)

    def ask(token: str | None) -> Any:
        return connection.tracking.get_metric_history(run_id, key, max_results=BULK_POINTS, page_token=token)

    found = pages(ask, key=_point)
    return [_point(metric) for page in found for metric in page.items]


def _point(metric: Any) -> Point:
    return index(metric.step), index(metric.timestamp), float(metric.value)


def _json(response: Response) -> dict[str, Any]:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class HistoryReader:
    """Reads histories of runs in groups, several groups ahead of the caller.

    Args:
        connection: to the store.
        executor: for the requests.
        pace: of the requests.
        bulk: whether to use the bulk endpoint.
        base: a snapshot whose histories need not be read again where nothing can have been added.
        prove: asked once, with the first runs that have metrics to read, whether the bulk endpoint can be trusted.
    """

    def __init__(
        self,
        connection: Connection,
        executor: Executor,
        pace: Pace,
        *,
        bulk: bool,
        base: Base | None = None,
        prove: Callable[[list[Run]], bool] | None = None,
    ) -> None:
        self._prove = prove
        self._pace = pace
        self._base = base
        self._kept: dict[str, set[str]] = {}
        self._connection = connection
        self._executor = executor
        self._use(bulk=bulk)

    def _use(self, *, bulk: bool) -> None:
        self._read = read_bulk if bulk else read_singly
        self._batch_runs = BULK_RUNS if bulk else 10

    def points_to_read(self, run: Run) -> int:
        """A guess at the number of points that have to be asked for: steps usually count up from 0.

        Args:
            run: asked about once. Runs come in a snapshot's order.
        """
        kept = self._base.ended_keys(run) if self._base is not None else set()
        if kept:
            self._kept[run.run_id] = kept
        return sum(expected(metric.step) for key, metric in run.metrics.items() if key not in kept)

    def begin(self, runs: list[Run]) -> Asked:
        """Ask for the histories of a group of runs, of which `points_to_read` was asked."""
        reads = [run for run in runs if run.metrics.keys() - self._kept.get(run.run_id, set())]
        if self._prove is not None and reads:
            self._use(bulk=self._prove(reads))
            self._prove = None
        return [
            (batch, self._executor.submit(self._read, self._connection, self._pace, batch))
            for batch in batches(runs, self._batch_runs, self._kept)
        ]

    def finish(self, runs: list[Run], asked: Asked) -> Iterator[Run | History | Skipped]:
        """The runs, each with its histories, once the answers are there."""
        found: dict[tuple[str, str], list[Point]] = {}
        failed: dict[tuple[str, str], str] = {}
        for batch, future in asked:
            result = future.result()
            found.update({(run_id, batch.key): points for run_id, points in result.histories.items()})
            failed.update({(run_id, batch.key): reason for run_id, reason in result.failures.items()})
        for run in (settled(run, found) for run in runs):
            yield run
            kept = _KeptLines(self._base, run, self._kept.pop(run.run_id, set()))
            for key in run.metrics:
                if key in kept.keys:
                    yield from kept.of(key)
                elif (run.run_id, key) in failed:
                    reason = failed[run.run_id, key]
                    yield Skipped(kind="metric history", id=f"{run.run_id}/{key}", reason=reason)
                else:
                    yield from history_records(run, key, found.pop((run.run_id, key)))


class _KeptLines:
    """The histories of a run that the base has, by key, in the order of keys."""

    def __init__(self, base: Base | None, run: Run, keys: set[str]) -> None:
        self.keys = keys
        lines = base.lines(run) if base is not None and keys else iter(())
        self._groups = itertools.groupby(lines, key=lambda line: line.key)
        self._next = next(self._groups, None)

    def of(self, key: str) -> Iterator[HistoryLine]:
        """Those of a key; none where its latest point is its whole history."""
        while self._next is not None and self._next[0] < key:
            self._next = next(self._groups, None)
        if self._next is not None and self._next[0] == key:
            yield from self._next[1]


def history_records(run: Run, key: str, points: list[Point]) -> Iterator[MetricHistory]:
    """Records for a metric's points; none where the run's latest metric says it all."""
    ordered = canonical(points)
    latest = run.metrics[key]
    if len(ordered) == 1 and point_order(ordered[0]) == point_order(
        (latest.step or 0, latest.timestamp or 0, latest.value)
    ):
        return
    yield from to_records(run.run_id, key, ordered)


def expected(step: int | None) -> int:
    """A guess at the number of points of a metric whose latest step is `step`."""
    return min(max(step or 0, 0) + 1, BULK_POINTS)


def groups(runs: Iterable[Run], points_to_read: Callable[[Run], int]) -> Iterator[list[Run]]:
    """Runs in groups that fit one round of requests, and memory.

    Args:
        runs: in a snapshot's order.
        points_to_read: how many points of a run have to be asked for; 0 for one that costs no request.
    """
    group: list[Run] = []
    asked = points = 0
    for run in runs:
        more = points_to_read(run)
        full = asked + (more > 0) > BULK_RUNS or points + more > _GROUP_POINTS
        if group and (full or len(group) >= _GROUP_RUNS):
            yield group
            group, asked, points = [], 0, 0
        group.append(run)
        asked += more > 0
        points += more
    if group:
        yield group


def batches(runs: list[Run], most_runs: int, kept: dict[str, set[str]]) -> list[Batch]:
    """The requests for a group: for each metric the runs that have it, packed to stay under the server's cut.

    Args:
        runs: the group.
        most_runs: of one request.
        kept: by run id, the keys that need not be asked for.
    """
    by_key: dict[str, list[Run]] = {}
    for run in runs:
        for key in run.metrics.keys() - kept.get(run.run_id, set()):
            by_key.setdefault(key, []).append(run)
    return [batch for key, having in by_key.items() for batch in _packed(key, having, most_runs)]


def _packed(key: str, runs: list[Run], most_runs: int) -> Iterator[Batch]:
    packed: list[str] = []
    points = 0
    for run in runs:
        more = expected(run.metrics[key].step)
        if packed and (len(packed) >= most_runs or points + more > _PACK_POINTS):
            yield Batch(key, tuple(packed))
            packed, points = [], 0
        packed.append(run.run_id)
        points += more
    yield Batch(key, tuple(packed))
