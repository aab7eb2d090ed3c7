"""What a database will hold for a record: where the two differ, this says how.

A record of the target is "the same" as one of the snapshot where it equals the snapshot's stored form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import Any, TypeVar

from mlmeta.schema import (
    LOGGED_MODELS,
    RUNS,
    Kind,
    LatestMetric,
    LoggedModel,
    LoggedModelMetric,
    MetricHistory,
    Record,
    Row,
    Run,
    canonical,
    kind_of,
    to_records,
)
from mlmeta.schema.experiments import renumbered
from mlmeta.schema.rows import renumbered_row
from mlmeta.snapshot.compare import Item
from mlmeta.snapshot.equality import clamped
from mlmeta.snapshot.reader import Led, RunLines, bare
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
        return chain.from_iterable(map(stored_history, self.item.followers()))


class StoredForm:
    """Turns records into what the database will hold for them.

    Args:
        rewriter: for artifact locations.
        numbers: ids of experiments that have another one in the target, each with that.
    """

    def __init__(self, rewriter: Rewriter, numbers: Mapping[str, str] | None = None) -> None:
        self._rewriter = rewriter
        self._numbers = numbers or {}

    def of(self, record: R) -> R:
        """A record with its locations rewritten, its experiment's number there, and values as MLflow stores them."""
        table = table_of(record)
        changes = {**(self._locations(table.kind, record) if self._rewriter else {}), **table.settled(record)}
        if self._numbers:
            changes.update(renumbered(table.kind, record, self._numbers))
        if metrics := _METRICS.get(table.kind.name):
            changes.update(metrics(record))
        for field in table.kind.parts:
            parts = getattr(record, field)
            stored = tuple(map(self.of, parts))
            if not all(map(is_, parts, stored)):
                changes[field] = stored
        return record.model_copy(update=changes) if changes else record

    def of_row(self, row: Row) -> Row:
        """A row of a table that no record models, with its locations rewritten, and its experiment's number there."""
        return renumbered_row(self._rewriter.row(row), self._numbers) if self._numbers else self._rewriter.row(row)

    def _locations(self, kind: Kind[Any], record: Record) -> dict[str, Any]:
        tags: dict[str, str] = getattr(record, "tags") if kind.location_tags else {}  # noqa: B009
        told = [name for name in kind.location_tags if name in tags]
        before = [*(getattr(record, field) for field in kind.locations), *(tags[name] for name in told)]
        uris = self._rewriter.uris(kind.counted_as, *before) if before else before
        if uris == before:
            return {}
        found: dict[str, Any] = dict(zip(kind.locations, uris, strict=False))
        if told:
            found["tags"] = {**tags, **dict(zip(told, uris[len(kind.locations) :], strict=True))}
        return found


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


def as_far_as_known(stored: Item, found: Item) -> Item:
    """A stored form with the target's values of what a snapshot through MLflow's API can't know.

    Args:
        stored: the stored form of the snapshot's record.
        found: the target's record.
    """
    if isinstance(stored, Led) and isinstance(found, Led):
        return Led(_as_known(stored.record, found.record), stored.lines)
    return _as_known(bare(stored), bare(found))


def _as_known(stored: R, found: R) -> R:
    kind = kind_of(stored)
    update = {
        field: theirs for field in kind.unshown if not getattr(stored, field) and (theirs := getattr(found, field))
    }
    for field, part in kind.parts.items():
        own, there = getattr(stored, field), {part.order(one): one for one in getattr(found, field)}
        known = tuple(_as_known(one, there.get(part.order(one), one)) for one in own)
        if not all(map(is_, own, known)):
            update[field] = known
    return stored.model_copy(update=update) if update else stored
