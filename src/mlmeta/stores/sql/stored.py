"""What a database will hold for a record: where the two differ, this says how.

A record of the target is "the same" as one of the snapshot where it equals the snapshot's stored form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from mlmeta.schema import (
    Experiment,
    History,
    HistoryLine,
    LatestMetric,
    LoggedModel,
    MetricHistory,
    ModelVersion,
    Record,
    RegisteredModel,
    Run,
    canonical,
    to_records,
)
from mlmeta.snapshot import equality
from mlmeta.snapshot.equality import clamped
from mlmeta.snapshot.reader import RunLines
from mlmeta.stores.rewrite import Rewriter
from mlmeta.stores.sql.tables import RUN_NAME_TAG


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

    A run without a start time and a version without a creation time get 0, as over REST, a version without stage or
    status MLflow's defaults: MLflow can't show them otherwise.

    Args:
        rewriter: for artifact locations.
    """

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter

    def experiment(self, record: Experiment) -> Experiment:
        """With its artifact location rewritten."""
        (location,) = self._rewriter.uris("experiments", record.artifact_location)
        return record.model_copy(update={"artifact_location": location})

    def run(self, record: Run) -> Run:
        """With its artifact URI rewritten and metrics as MLflow stores them."""
        metrics = record.metrics
        if any(_needs_care(metric) for metric in metrics.values()):
            metrics = {key: _stored_metric(metric, record) for key, metric in metrics.items()}
        (artifact_uri,) = self._rewriter.uris("runs", record.artifact_uri)
        name = record.run_name or record.tags.get(RUN_NAME_TAG)  # MLflow before 1.30 has names in the tag alone
        if (artifact_uri, metrics, name) == (record.artifact_uri, record.metrics, record.run_name) and (
            record.start_time is not None
        ):
            return record
        changes = {
            "artifact_uri": artifact_uri,
            "metrics": metrics,
            "run_name": name,
            "start_time": record.start_time or 0,
        }
        return record.model_copy(update=changes)

    def logged_model(self, record: LoggedModel) -> LoggedModel:
        """With its artifact location rewritten and metrics as MLflow stores them."""
        (location,) = self._rewriter.uris("logged models", record.artifact_location)
        metrics = tuple(
            metric.model_copy(update={"value": 0.0 if math.isnan(metric.value) else clamped(metric.value)})
            for metric in record.metrics
        )
        return record.model_copy(update={"artifact_location": location, "metrics": metrics})

    def model(self, record: RegisteredModel) -> RegisteredModel:
        """With the locations of its versions rewritten."""
        return record.model_copy(update={"versions": tuple(map(self._version, record.versions))})

    def _version(self, record: ModelVersion) -> ModelVersion:
        source, location = self._rewriter.uris("model versions", record.source, record.storage_location)
        return record.model_copy(
            update={
                "source": source,
                "storage_location": location,
                "creation_timestamp": record.creation_timestamp or 0,
                "current_stage": record.current_stage or "None",
                "status": record.status or "READY",
                "model_id": None,  # MLflow's database has no column for the id of a logged model
            }
        )


def stored_history(record: MetricHistory) -> Sequence[MetricHistory]:
    """A history as MLflow's database keeps it: no infinities, and each point once (where 0.0 is -0.0)."""
    if math.isfinite(sum(record.value)) and 0.0 not in record.value:
        return (record,)  # nearly always; told at the speed of C
    points = {(s, t, "nan" if math.isnan(v) else v): (s, t, v) for s, t, v in zip_clamped(record)}
    return list(to_records(record.run_id, record.key, canonical(points.values())))


def zip_clamped(record: MetricHistory) -> list[tuple[int, int, float]]:
    """The points, with infinities as MLflow stores them."""
    return [(step, timestamp, clamped(value)) for step, timestamp, value in record.points()]


def _needs_care(metric: LatestMetric) -> bool:
    return metric.step is None or metric.timestamp is None or math.isinf(metric.value)


def _stored_metric(metric: LatestMetric, run: Run) -> LatestMetric:
    """Snapshots of the older script have values only: their step becomes 0, their time the run's."""
    timestamp = metric.timestamp if metric.timestamp is not None else run.end_time or run.start_time or 0
    return LatestMetric(value=clamped(metric.value), step=metric.step or 0, timestamp=timestamp)


def same_histories(found: Sequence[History], expected: StoredHistories) -> bool:
    """Whether a run of the target has the histories that a restore leaves there. Equal lines are not taken apart."""
    if [history.to_line() for history in found] == [line.line for line in expected.item.lines]:
        return True
    stored = list(expected)
    return len(found) == len(stored) and all(map(same, (history.record() for history in found), stored))


def same_history(found: History, own: HistoryLine) -> bool:
    """Whether a history of the target is what a restore leaves there for one of the snapshot."""
    if found.to_line() == own.line:
        return True
    stored = stored_history(own.record())
    return len(stored) == 1 and same(found.record(), stored[0])


def same(found: Record, stored: Record) -> bool:
    """Whether a record of the target says what the stored form of the snapshot's says.

    -0.0 equals 0.0, as SQLite does not keep the sign. What an API snapshot can't know (deletion times, models used
    by a run, storage locations) is not counted against the target.
    """
    if found.to_line() == stored.to_line():
        return True
    return comparable(found, stored).to_line() == comparable(stored, stored).to_line()


RecordT = TypeVar("RecordT", bound=Record)


def in_own_words(record: RecordT, stored: RecordT, found: RecordT) -> RecordT:
    """A record of the target, with the snapshot's own value wherever the target's is what a restore leaves there.

    Args:
        record: of the snapshot.
        stored: its stored form.
        found: the target's.
    """
    if same(found, stored):
        return record
    wanted, actual, own = dict(comparable(stored, stored)), dict(comparable(found, stored)), dict(record)
    update = {name: own[name] for name in own if equality.same(wanted[name], actual[name])}
    if isinstance(record, RegisteredModel) and isinstance(stored, RegisteredModel):
        theirs = zip(record.versions, stored.versions, strict=True)
        forms = {one.version: (one, other) for one, other in theirs}
        versions = [in_own_words(*forms[v.version], v) if v.version in forms else v for v in actual["versions"]]
        update["versions"] = tuple(versions)
    return found.model_copy(update=update)


def comparable(record: Record, other: Record) -> Record:
    """A record without what another one can't know: see `same`."""
    if isinstance(record, Run) and isinstance(other, Run):
        return _comparable_run(record, other)
    if isinstance(record, MetricHistory):
        return record.model_copy(update={"value": [value + 0.0 for value in record.value]})
    if isinstance(record, LoggedModel):
        metrics = tuple(m.model_copy(update={"value": m.value + 0.0}) for m in record.metrics)
        return record.model_copy(update={"metrics": metrics})
    if isinstance(record, RegisteredModel) and isinstance(other, RegisteredModel):
        known = {version.version for version in other.versions if version.storage_location is not None}
        versions = [
            v if v.version in known else v.model_copy(update={"storage_location": None}) for v in record.versions
        ]
        return record.model_copy(update={"versions": tuple(versions)})
    return record


def _comparable_run(record: Run, other: Run) -> Run:
    metrics = {k: m.model_copy(update={"value": m.value + 0.0}) for k, m in record.metrics.items()}
    unknown = {
        "deleted_time": record.deleted_time if other.deleted_time is not None else None,
        "model_inputs": record.model_inputs if other.model_inputs else (),
    }
    return record.model_copy(update={"metrics": metrics, **unknown})
