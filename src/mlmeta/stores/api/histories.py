"""Requests for metric histories, in bulk where the server has the endpoint for it.

The endpoint ``GET /ajax-api/2.0/mlflow/metrics/get-history-bulk`` gives one metric of up to 100 runs and cuts its
reply at 25,000 points without saying so (MLflow 2.0 to 3.17, `server/handlers.py`): a reply of that size is never
taken for whole, but asked for again in halves, and for a single run page by page. It is no documented part of the API:
it is used only where it gives for a sample what `get_metric_history` gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from operator import index
from typing import TYPE_CHECKING, Any

from mlmeta.errors import ReplyError
from mlmeta.schema import METRICS, Point, Run, Skipped
from mlmeta.stores.api.connection import Connection, unreadable
from mlmeta.stores.api.file_store import FileStore
from mlmeta.stores.api.pace import Pace
from mlmeta.stores.api.paging import entities_of

if TYPE_CHECKING:
    from requests import Response

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
BULK_RUNS = 100
BULK_POINTS = 25_000
_TIMEOUT = 120
_RETRIED = (408, 500, 502, 504)
"""Statuses that the client tries again by itself; those of a busy server are `Pace`'s."""
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
    response = pace.ask(lambda: connection.request("GET", BULK, timeout=_TIMEOUT, params=params, retry_codes=_RETRIED))
    if response.status_code != HTTPStatus.OK:
        raise ReplyError(f"it answers {response.status_code}")
    points: list[dict[str, Any]] = _json(response)["metrics"]
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


def _json(response: Response) -> dict[str, Any]:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class BulkEndpoint:
    """The bulk endpoint of a store: whether it is there, and can be trusted.

    Args:
        connection: to the store.
        pace: of the requests.
        threads: for the requests.
    """

    def __init__(self, connection: Connection, pace: Pace, threads: Executor) -> None:
        self._connection = connection
        self._pace = pace
        self._threads = threads
        self._exists: bool | None = None if connection.kind == "server" else False
        self._is_trusted = True

    def serves(self, runs: list[Run]) -> bool:
        """Whether histories can be read through it, as some runs that have metrics show it.

        Raises:
            ConnectionFailedError: the server is gone.
        """
        if self._exists is None:
            self._exists = self._threads.submit(self._is_there, runs[0]).result()
        if self._exists:
            self._is_trusted = all(self._threads.map(self._agrees, _sample(runs)))
        return self._exists and self._is_trusted

    def _is_there(self, run: Run) -> bool:
        """Whether the server has it, and lets us use it; where it knows users, it refuses a run that does not exist."""
        params = {"run_id": [run.run_id], "metric_key": next(iter(run.metrics))}
        try:
            response = self._connection.request("GET", BULK, timeout=_TIMEOUT, params=params)
        except unreadable() as error:
            self._connection.failed(error)
            return False
        return response.status_code == HTTPStatus.OK and "metrics" in _json(response)

    def _agrees(self, batch: HistoryBatch) -> bool:
        """Whether it gives the points of a single run that `get_metric_history` gives.

        Others may add points meanwhile: so what is read singly before must be in the bulk reply, and that in what is
        read singly afterwards.
        """
        before = _texts(read_singly(self._connection, batch))
        bulk = _texts(read_bulk(self._connection, self._pace, batch))
        return bulk == before or before <= bulk <= _texts(read_singly(self._connection, batch))

    def warnings(self) -> list[str]:
        """What a person should know of the way in which histories were read."""
        found = []
        if self._exists is False and self._connection.kind == "server":
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
