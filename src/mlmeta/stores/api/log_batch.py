"""Metrics, params and tags of a run, logged in as few requests as the API allows.

One request takes 1,000 items, of them 100 params and 100 tags (MLflow's `log-batch` limits). The store writes params,
then metrics, then tags (`SqlAlchemyStore.log_batch`), so a tag in the last request says that all before it arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

from mlmeta.schema import RUNS, HistoryLine, Point
from mlmeta.snapshot.reader import RunHistories
from mlmeta.stores.api.connection import Connection
from mlmeta.stores.api.name_rules import key_obstacle
from mlmeta.stores.target import Refusal

ITEMS = 1000
PARAMS_OR_TAGS = 100
T = TypeVar("T")

KeyedPoint = tuple[str, Point]
"""A metric's key and one of its points."""


@dataclass(frozen=True)
class LogBatch:
    """Items of a run.

    Args:
        metrics: keys and points.
        params: keys and values.
        tags: keys and values.
        seal: tags that go last, when everything else has arrived.
    """

    metrics: tuple[KeyedPoint, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    seal: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, item: RunHistories, tags: dict[str, str], seal: dict[str, str]) -> LogBatch:
        """All that is to be logged for a run."""
        return cls(tuple(_points(item)), tuple(item.run.params.items()), tuple(tags.items()), tuple(seal.items()))

    def __len__(self) -> int:
        """The number of items, the seal left out."""
        return len(self.metrics) + len(self.params) + len(self.tags)

    def requests(self) -> Iterator[LogBatch]:
        """The batch in parts that one request takes; the seal is in the last."""
        metrics, params, tags = iter(self.metrics), iter(self.params), iter(self.tags)
        parts = []
        while True:
            some = LogBatch(
                (), tuple(islice(params, PARAMS_OR_TAGS)), tuple(islice(tags, PARAMS_OR_TAGS - len(self.seal)))
            )
            some = replace(some, metrics=tuple(islice(metrics, ITEMS - len(some) - len(self.seal))))
            if not len(some):
                break
            parts.append(some)
        yield from parts[:-1]
        yield replace(parts[-1] if parts else LogBatch(), seal=self.seal)

    def halves(self) -> tuple[LogBatch, LogBatch]:
        """The batch in two, without the seal. Both are smaller, as long as there are two items."""
        middle = (len(self) + 1) // 2
        return self._part(0, middle), self._part(middle, len(self))

    def _part(self, start: int, stop: int) -> LogBatch:
        """Some of the items, counted over metrics, then params, then tags."""
        before_tags = len(self.metrics) + len(self.params)
        return LogBatch(
            self.metrics[start:stop],
            _between(self.params, start - len(self.metrics), stop - len(self.metrics)),
            _between(self.tags, start - before_tags, stop - before_tags),
        )


def _between(items: tuple[T, ...], start: int, stop: int) -> tuple[T, ...]:
    return items[max(start, 0) : max(stop, 0)]


def _points(item: RunHistories) -> Iterator[KeyedPoint]:
    with_history = set()
    for history in item.histories:
        with_history.add(history.key)
        for point in history.points():
            yield history.key, point
    run = item.run
    for key, latest in run.metrics.items():
        if key not in with_history:
            timestamp = latest.timestamp  # older snapshots have none
            if timestamp is None:
                timestamp = run.end_time or run.start_time or 0
            yield key, (latest.step or 0, timestamp, latest.value)


def sift(batch: LogBatch, name: str) -> tuple[LogBatch, list[Refusal]]:
    """What of a batch MLflow takes, and what it does not: odd keys, points before 1970.

    Args:
        batch: of a run.
        name: the run's id in the snapshot.
    """
    parts = [(LogBatch(metrics=(item,)), reason) for item in batch.metrics if (reason := _point_obstacle(item))]
    parts += [(LogBatch(params=(item,)), r) for item in batch.params if (r := key_obstacle("param", item[0]))]
    parts += [(LogBatch(tags=(item,)), r) for item in batch.tags if (r := key_obstacle("tag", item[0]))]
    if not parts:
        return batch, []
    taken = LogBatch(
        tuple(item for item in batch.metrics if not _point_obstacle(item)),
        tuple(item for item in batch.params if not key_obstacle("param", item[0])),
        tuple(item for item in batch.tags if not key_obstacle("tag", item[0])),
        batch.seal,
    )
    return taken, [_refusal(part, name, reason) for part, reason in parts]


def _point_obstacle(item: KeyedPoint) -> str:
    key, (_, timestamp, _) = item
    return key_obstacle("metric", key) or ("MLflow's API takes no points before 1970" if timestamp < 0 else "")


def may_be_refused(line: HistoryLine) -> bool:
    """Whether `sift` has to look at the points of a history, told without taking it apart."""
    timestamps = line.line.partition(b'"timestamp":[')[2].partition(b"]")[0]
    return b"-" in timestamps or bool(key_obstacle("metric", line.key))


def log(connection: Connection, run_id: str, batch: LogBatch, name: str) -> list[Refusal]:
    """Log a batch, and name what the server does not take.

    Args:
        connection: to the target.
        run_id: in the target.
        batch: all of the run.
        name: the run's id in the snapshot.
    """
    return list(chain.from_iterable(_log(connection, run_id, part, name) for part in batch.requests()))


def _log(connection: Connection, run_id: str, batch: LogBatch, name: str) -> list[Refusal]:
    """One request; where the server refuses it, its halves, down to the items that it refuses."""
    from mlflow.exceptions import MlflowException

    try:
        _send(connection, run_id, batch)
    except MlflowException as error:
        connection.check()
        if len(batch) == 1 and not batch.seal:
            return [_refusal(batch, name, connection.reason(error))]
        if not len(batch):
            raise
    else:
        return []
    first, second = batch.halves()
    refused = [r for half in (first, second) if len(half) for r in _log(connection, run_id, half, name)]
    if batch.seal:
        _send(connection, run_id, LogBatch(seal=batch.seal))
    return refused


def _send(connection: Connection, run_id: str, batch: LogBatch) -> None:
    from mlflow.entities import Metric, Param, RunTag

    connection.tracking.log_batch(
        run_id,
        metrics=[Metric(key, value, timestamp, step) for key, (step, timestamp, value) in batch.metrics],
        params=[Param(key, value) for key, value in batch.params],
        tags=[RunTag(key, value) for key, value in (*batch.tags, *batch.seal)],
    )


def _refusal(batch: LogBatch, name: str, reason: str) -> Refusal:
    what, field = _what(batch)
    return refused_part(what, name, reason, field)


def refused_part(what: str, run_id: str, reason: str, field: str) -> Refusal:
    """A part of a run that the target does not take.

    Args:
        what: the part, in words.
        run_id: in the snapshot.
        reason: why.
        field: as a comparison names it.
    """
    return Refusal(kind=what, id=run_id, reason=reason, field=field, records=((RUNS.one, run_id),))


def _what(batch: LogBatch) -> tuple[str, str]:
    """A single item, in words, and as a comparison names it."""
    if batch.metrics:
        key, (step, timestamp, value) = batch.metrics[0]
        return f"metric {key} (step {step}, timestamp {timestamp}, value {value})", f"metrics[{key}]"
    kind, (key, _) = ("param", batch.params[0]) if batch.params else ("tag", batch.tags[0])
    return f"{kind} {key}", f"{kind}s[{key}]"
