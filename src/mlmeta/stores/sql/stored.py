"""What a database will hold for a record: where the two differ, this says how.

A record of the target is "the same" as one of the snapshot where it equals the snapshot's stored form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from mlmeta.schema import (
    LOGGED_MODELS,
    METRICS,
    RUNS,
    History,
    Kind,
    LatestMetric,
    LoggedModel,
    LoggedModelMetric,
    MetricHistory,
    Record,
    Run,
    canonical,
    kind_of,
    to_records,
)
from mlmeta.snapshot.equality import clamped
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.tables import table_of

R = TypeVar("R", bound=Record)
M = TypeVar("M", LatestMetric, LoggedModelMetric)


@dataclass(frozen=True)
class StoredHistories:
    """The histories of a run as MLflow's database will hold them: each is taken apart when it is its turn.

    Millions of Python's numbers that wait for theirs would not fit into the processor's cache: half of the time.

    Args:
        item: as the snapshot has them.
    """

    item: RunLines

    @property
    def keys(self) -> set[str]:
        """The metrics that have a history."""
        return {line.key for line in self.item.lines}

    @property
    def size(self) -> int:
        """The number of points."""
        return self.item.size

    def __iter__(self) -> Iterator[MetricHistory]:
        """The histories, in order.

        Raises:
            DamagedSnapshotError: one is not valid.
        """
        return chain.from_iterable(map(stored_history, self.item.histories()))


class StoredForm:
    """Turns records into what the database will hold for them.

    Args:
        rewriter: for artifact locations.
    """

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter

    def of(self, record: R) -> R:
        """A record with its locations rewritten, MLflow's defaults, and values as MLflow stores them."""
        table = table_of(record)
        changes = {**self._locations(table.kind, record), **table.settled(record)}
        if metrics := _METRICS.get(table.kind.name):
            changes.update(metrics(record))
        for field in table.kind.parts:
            changes[field] = tuple(map(self.of, getattr(record, field)))
        return record.model_copy(update=changes) if changes else record

    def _locations(self, kind: Kind[Any], record: Record) -> dict[str, Any]:
        before = [getattr(record, field) for field in kind.locations]
        uris = self._rewriter.uris(kind.counted_as, *before) if before else before
        return {} if uris == before else dict(zip(kind.locations, uris, strict=True))


def stored_history(record: MetricHistory) -> Sequence[MetricHistory]:
    """A history as MLflow's database keeps it: no infinities, and each point once (where 0.0 is -0.0)."""
    if math.isfinite(sum(record.value)) and 0.0 not in record.value:
        return (record,)  # nearly always; told at the speed of C
    points = {(s, t, "nan" if math.isnan(v) else v): (s, t, v) for s, t, v in zip_clamped(record)}
    return list(to_records(record.run_id, record.key, canonical(points.values())))


def zip_clamped(record: MetricHistory) -> list[tuple[int, int, float]]:
    """The points, with infinities as MLflow stores them."""
    return [(step, timestamp, clamped(value)) for step, timestamp, value in record.points()]


def _latest_metrics(run: Run) -> dict[str, Any]:
    if not any(m.step is None or m.timestamp is None or math.isinf(m.value) for m in run.metrics.values()):
        return {}
    return {"metrics": {key: _stored_metric(metric, run) for key, metric in run.metrics.items()}}


def _stored_metric(metric: LatestMetric, run: Run) -> LatestMetric:
    """Snapshots of the older script have values only: their step becomes 0, their time the run's."""
    timestamp = metric.timestamp if metric.timestamp is not None else run.end_time or run.start_time or 0
    return LatestMetric(value=clamped(metric.value), step=metric.step or 0, timestamp=timestamp)


def _model_metrics(model: LoggedModel) -> dict[str, Any]:
    values = ((m, 0.0 if math.isnan(m.value) else clamped(m.value)) for m in model.metrics)
    return {"metrics": tuple(m.model_copy(update={"value": value}) for m, value in values)}


_METRICS: dict[str, Callable[[Any], dict[str, Any]]] = {RUNS.name: _latest_metrics, LOGGED_MODELS.name: _model_metrics}
"""By kind: the metrics as MLflow stores them, where they are others."""


def same_histories(found: Sequence[History], expected: StoredHistories) -> bool:
    """Whether a run of the target has the histories that a restore leaves there. Equal lines are not taken apart."""
    if [history.to_line() for history in found] == [line.line for line in expected.item.lines]:
        return True
    stored = list(expected)
    return len(found) == len(stored) and all(map(same, (history.record() for history in found), stored))


def same(found: Record, stored: Record) -> bool:
    """Whether a record of the target says what the stored form of the snapshot's says.

    -0.0 equals 0.0, as SQLite does not keep the sign. What an API snapshot can't know (deletion times, models used
    by a run, storage locations) is not counted against the target.
    """
    if found.to_line() == stored.to_line():
        return True
    return comparable(found, stored).to_line() == comparable(stored, stored).to_line()


def comparable(record: R, other: R) -> R:
    """A record without what another one can't know: see `same`."""
    kind = kind_of(record)
    update = {f: type(record).model_fields[f].get_default() for f in kind.unshown if not getattr(other, f)}
    if unsigned := _UNSIGNED.get(kind.name):
        update.update(unsigned(record))
    for field, part in kind.parts.items():
        others = {part.key(one): one for one in getattr(other, field)}
        update[field] = tuple(comparable(one, others.get(part.key(one), one)) for one in getattr(record, field))
    return record.model_copy(update=update) if update else record


def _unsigned(metric: M) -> M:
    return metric.model_copy(update={"value": metric.value + 0.0})


_UNSIGNED: dict[str, Callable[[Any], dict[str, Any]]] = {
    RUNS.name: lambda run: {"metrics": {key: _unsigned(metric) for key, metric in run.metrics.items()}},
    LOGGED_MODELS.name: lambda model: {"metrics": tuple(map(_unsigned, model.metrics))},
    METRICS.name: lambda history: {"value": [value + 0.0 for value in history.value]},
}
"""By kind: its values, -0.0 as 0.0."""
